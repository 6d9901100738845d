"""Where in the picture: the token decomposition along texts, as maps (paper C, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..data.pictures import as_rgb
from ..errors import SummandError
from ..models import Model, pixels_of
from ..models.readable import readable
from ..text.pools import pool
from .neuron_maps import neuron_map
from .pair_maps import pair_map
from .placing import placed, share_of
from .sound import check_sound
from .token_maps import head_maps, token_maps
from .windows import cut, resized_short, scale_of, stitched

_SAME = 1e-5  # distance of two unit texts that are the same
_ACROSS = 5  # pictures side by side
_AT_ONCE = 32  # windows


@dataclass(frozen=True)
class Heatmap:
    """Maps of one image.

    texts: what each map is about. grid: contribution of every patch, [text, row, column], in units of the embedding;
    of every pixel where windows were read. picture: the image as the model saw it, uint8 [height, width, 3]. quantity:
    what the numbers are. signed: whether below zero means against; else they are an amount, as a neuron's activation.
    share: of the picture's height and width, from the upper left corner, that the grid covers.
    """

    texts: tuple[str, ...]
    grid: Float[np.ndarray, "text row column"]
    picture: np.ndarray
    quantity: str = "contribution"
    signed: bool = True
    share: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not np.isfinite(self.grid).all():
            raise SummandError("a map that holds NaN or infinite numbers cannot be drawn; check the model's weights")

    def upsampled(self) -> Float[np.ndarray, "text height width"]:
        """The maps at the size of the picture, bilinear."""
        height, width = self.picture.shape[:2]
        return placed(torch.from_numpy(self.grid)[:, None], (height, width), self.share)[:, 0].numpy()

    def figure(self) -> Any:
        """A matplotlib figure: the picture, then each map laid over it, on one colour scale, with its bar.

        Both colour maps are even in lightness: a diverging one for signed maps, viridis for amounts.
        """
        from matplotlib.figure import Figure

        maps = self.upsampled()
        limit = float(np.abs(maps).max()) or 1.0
        look: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        if not self.signed:
            look = {"cmap": "viridis", "vmin": min(float(maps.min()), 0.0), "vmax": float(maps.max()) or 1.0}
        across = min(len(maps) + 1, _ACROSS)
        down = -(-(len(maps) + 1) // across)
        figure = Figure(figsize=(3.1 * across + 0.5, 3.5 * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).ravel()
        axes[0].imshow(self.picture)
        axes[0].set_title("image", fontsize=10)
        shown = None
        for axis, text, values in zip(axes[1 : len(maps) + 1], self.texts, maps, strict=True):
            axis.imshow(self.picture.mean(axis=2), cmap="gray", vmin=-60, vmax=300)
            shown = axis.imshow(values, alpha=0.6, **look)
            title = "\n".join(fill(line, 34) for line in text.split("\n"))
            axis.set_title(title, fontsize=10, parse_math=False)  # a text may hold dollars
        for axis in axes:
            axis.set_axis_off()
        bar = figure.colorbar(shown, ax=list(axes), shrink=0.8, pad=0.01)
        bar.set_label(self.quantity, fontsize=9)
        bar.ax.tick_params(labelsize=8)
        return figure

    def save(self, path: str | Path) -> None:
        """Write the figure as a picture; the format follows the file name."""
        path = Path(path)
        if path.suffix.lower() not in (".png", ".pdf", ".svg", ".jpg"):
            raise SummandError(f"cannot write a picture to {path}: the name must end in .png, .jpg, .svg or .pdf")
        try:
            self.figure().savefig(path, dpi=130)
        except OSError as error:
            raise SummandError(f"cannot write {path}: {error.strerror or error}") from error


@overload
def heatmap(model: Model, image: Image.Image | np.ndarray, *given: Any, **options: Any) -> Heatmap: ...


@overload
def heatmap(model: Model, image: Sequence[Image.Image | np.ndarray], *given: Any, **options: Any) -> list[Heatmap]: ...


def heatmap(
    model: Model,
    image: Image.Image | np.ndarray | Sequence[Image.Image | np.ndarray],
    texts: str | Sequence[str] = (),
    versus: str | None = None,
    contrast: Sequence[str] | None = None,
    *,
    head: str | None = None,
    neuron: str | None = None,
    pair: str | None = None,
    windows: int | None = None,
) -> Heatmap | list[Heatmap]:
    r"""map[text, patch] = ⟨Σ_{l,h} c_{patch}^{l,h}, t − t̄⟩, the patches' direct effects along a text (paper C, §5).

    image: a picture, PIL or uint8 [height, width, 3], for which there is one `Heatmap`; or several, a list or uint8
    [image, height, width, 3], for which there is a list of them, read in batches.

    texts: one or several. versus: with it, one map of t − t_versus: red where the image speaks for the text, blue
    where it speaks for the other. contrast: texts whose mean t̄ is taken away; by default a spread of the model's own
    description pool (the scenes prompts, else the general pool: 120 texts, where 1,000 classes would cost ten times
    the image). At most one of these draws a part instead of the whole:

    head: "layer.head" as "22.11": the contributions through that head alone (joint decomposition, paper C, Fig. 7).
    neuron: "layer:neuron" as "9:2914": its activations; texts are not needed. pair: "neuron.head" as "624.21", of an
    attention pool: the neuron's activation times the head's similarity to each text less the contrast (paper B).

    windows: read the whole picture at so many windows of the model's size along its short side, half a window apart,
    each map averaged where they overlap: 1 for what a square crop would lose, 2 or more for a finer map.

    Raises `SummandError` for empty texts, a part that the model does not have, or an image that is neither PIL nor
    uint8 [height, width, 3].
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    parts = [name for name, value in (("head", head), ("neuron", neuron), ("pair", pair)) if value is not None]
    if len(parts) > 1:
        raise SummandError(f"one part at a time: {' and '.join(parts)} were given")
    if neuron is not None and (texts or versus or contrast):
        raise SummandError("a neuron's activations need no text; leave the texts, versus and contrast out")
    if versus is not None and len(texts) != 1:
        raise SummandError(f"versus compares one text with another, got {len(texts)} texts")
    if versus is not None and contrast is not None:
        raise SummandError("give versus, one text to compare with, or contrast, texts whose mean is taken away")
    contrast = [contrast] if isinstance(contrast, str) else contrast
    several = isinstance(image, (list, tuple)) or (isinstance(image, np.ndarray) and image.ndim == 4)
    pictures = [_picture(one) for one in image] if several else [_picture(image)]
    if not pictures:
        raise SummandError("expected at least one picture, got an empty list")
    if windows is not None and windows < 1:
        raise SummandError(f"windows must be at least 1, along the picture's short side; got {windows}")
    if neuron is not None:
        layer, unit = _numbers(neuron, ":", "neuron", "layer:neuron, such as 9:2914")
        draw = partial(neuron_map, model, layer=layer, neuron=unit)
        titles, quantity = (f"neuron {neuron}",), "activation"
    else:
        directions, titles = _directions(model, texts, versus, contrast)
        draw, quantity = partial(token_maps, model, directions=directions), "contribution"
        if head is not None:
            layer, unit = parse_head(head)
            draw = partial(head_maps, model, directions=directions, layer=layer, head=unit)
            quantity = f"contribution through head {head}"
        elif pair is not None:
            unit, place = _numbers(pair, ".", "pair", "neuron.head, such as 624.21")
            draw = partial(pair_map, model, directions=directions, neuron=unit, head=place)
            quantity = f"activation × similarity of pair {pair}"

    def drawn() -> list[Heatmap]:
        share = share_of(model) if windows is None else (1.0, 1.0)
        found = []
        for maps, picture in _read(model, pictures, draw, windows):
            check_sound(model, maps, "the map")
            signed = neuron is None or bool((maps < 0).any())
            found.append(Heatmap(titles, _array(maps), picture, quantity, signed, share))
        return found

    found = model.at_once(drawn)
    return found if several else found[0]


def _picture(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return Image.fromarray(image)
    got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
    raise SummandError(f"expected a PIL image or a uint8 array [height, width, 3], got {got}")


def _read(
    model: Model, pictures: list[Image.Image], draw: Callable[..., Tensor], across: int | None
) -> Iterator[tuple[Float[Tensor, "text row column"], np.ndarray]]:
    """The maps of every picture, and the picture as they lie over it."""
    if across is not None:
        for picture in pictures:
            yield _read_windows(model, picture, draw, across)
        return
    for start in range(0, len(pictures), _AT_ONCE):
        pixels = pixels_of(model, pictures[start : start + _AT_ONCE])
        yield from zip(_by_text(draw(pixels=pixels)), model.picture(pixels), strict=True)


def _read_windows(
    model: Model, image: Image.Image, draw: Callable[..., Tensor], across: int
) -> tuple[Float[Tensor, "text row column"], np.ndarray]:
    """The maps of one picture that is read at several windows."""
    size = scale_of(model, model.tower.image_size)
    whole = resized_short(as_rgb(image), (across * size[0], across * size[1]), Image.Resampling.BICUBIC)
    places, pieces = cut(whole, size)
    batches = [pixels_of(model, pieces[start : start + _AT_ONCE]) for start in range(0, len(pieces), _AT_ONCE)]
    found = torch.cat([_by_text(draw(pixels=pixels)).float().cpu() for pixels in batches])
    return stitched(found, places, size, (whole.height, whole.width), share_of(model)), np.asarray(whole)


def _by_text(maps: Tensor) -> Float[Tensor, "image text row column"]:
    """A neuron's maps like those of one text."""
    return maps[:, None] if maps.ndim == 3 else maps


def _directions(
    model: Model, texts: list[str], versus: str | None, contrast: Sequence[str] | None
) -> tuple[Float[Tensor, "text embed"], tuple[str, ...]]:
    """What is drawn for each text, and the titles of the maps."""
    if versus is not None:
        others, titles = [versus], (f"{texts[0]}  (red)\nversus {versus}  (blue)",)
    else:
        others, titles = default_contrast(model) if contrast is None else list(contrast), tuple(texts)
    own, against = model.encode_text([*texts, *others]).split([len(texts), len(others)])
    found = own - against.mean(dim=0)
    check_sound(model, found, "the embedding of a text")
    same = [text for text, row in zip(texts, found, strict=True) if float(row.norm()) < _SAME]
    if same:
        what = "versus" if versus is not None else "contrast"
        raise SummandError(f"{same[0]!r} is the same as what it is compared with; give another text, or another {what}")
    return found, titles


def parse_head(head: str) -> tuple[int, int]:
    """ "22.11" → layer 22, head 11."""
    return _numbers(head, ".", "head", "layer.head, such as 22.11")


def _numbers(value: str, separator: str, what: str, form: str) -> tuple[int, int]:
    first, found, second = str(value).partition(separator)
    if not (found and first.strip().isdecimal() and second.strip().isdecimal()):
        raise SummandError(f"a {what} is given as {form}; got {value!r}")
    return int(first), int(second)


def _array(maps: Tensor) -> np.ndarray:
    return maps.float().cpu().numpy()


def default_contrast(model: Model) -> list[str]:
    """What the model can read of a spread of the description pool that fits it."""
    spread = replace(pool(model.world.pool), texts=tuple(model.world.contrast()))
    return list(readable(spread, model._tokenizer)[0].texts)


def default_pool(model: Model) -> str:
    """The description pool that fits a model: that of its world."""
    return model.world.pool


def overlay(values: Tensor | np.ndarray, limit: float) -> Image.Image:
    """A map [row, column] as a small picture to lay over an image: red speaks for, blue against, clear says nothing."""
    from matplotlib import colormaps

    numbers = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(numbers).all() and np.isfinite(limit)):
        raise SummandError("a map that holds NaN or infinite numbers cannot be drawn; check the model's weights")
    share = np.clip(numbers / (limit or 1.0), -1, 1)
    colour = colormaps["RdBu_r"]((share + 1) / 2)
    colour[..., 3] = 0.15 * (np.abs(share) > 0.05) + 0.65 * np.abs(share)
    return Image.fromarray((colour * 255).astype(np.uint8), mode=None)
