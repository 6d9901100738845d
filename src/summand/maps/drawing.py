"""What is drawn of pictures: the token decomposition along texts (paper C, section 5), or a part, or another method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..data.pictures import as_rgb
from ..errors import SummandError
from ..models import Model, pixels_of
from ..unit import Unit
from .contrast import contrast_texts, default_contrast
from .covered import Covered, covered, together
from .crop import Box, box_of
from .heatmap import Heatmap, Original
from .methods import MapMethod, applies, choose, needs_reference, prepare
from .neuron_maps import check_latent, latent_map, neuron_map, second_order_maps
from .options import HeatmapOptions
from .pair_maps import pair_map
from .placing import share_of
from .references import learnt_from
from .sound import check_sound
from .token_maps import head_maps
from .windows import cut, fitted, resized_short, scale_of, stitched

_SAME = 1e-5  # distance of two unit texts that are the same
_AT_ONCE = 32  # windows
_PLAIN = "decomposition"


@dataclass(frozen=True)
class Picture:
    """A picture, what it is called, and how it is read again."""

    name: str
    image: Image.Image
    read: Callable[[], Image.Image]


@dataclass(frozen=True)
class Drawn:
    """Of some pixels the maps; and where the same pass made them the embeddings, and how much of these maps cover."""

    maps: Float[Tensor, "image text row column"]
    embeddings: Float[Tensor, "image embed"] | None = None
    covered: Sequence[Covered] = ()


@dataclass(frozen=True)
class Drawing:
    """One way to draw maps: draw(pixels). texts: what the similarity is asked of; None without texts."""

    model: Model
    options: HeatmapOptions
    titles: tuple[str, ...]
    quantity: str
    draw: Callable[[Tensor], Drawn]
    texts: Float[Tensor, "text embed"] | None
    signed: bool = True

    def of(self, pictures: Sequence[Picture]) -> list[Heatmap]:
        """The maps of some pictures, in one pass."""
        shown = [replace(one, image=as_rgb(one.image)) for one in pictures]
        return self.model.at_once(lambda: self._drawn(shown))

    def _drawn(self, shown: Sequence[Picture]) -> list[Heatmap]:
        if self.options.windows is not None:
            return [self._windowed(one, self.options.windows) for one in shown]
        pixels = pixels_of(self.model, [one.image for one in shown])
        found = self.draw(pixels)
        check_sound(self.model, found.maps, "the map")
        grids, alike = found.maps.float().cpu().numpy(), self._alike(pixels, found.embeddings)
        seen, share, box = self.model.picture(pixels), share_of(self.model), partial(box_of, self.model)
        return [
            self._made(one, grids[i], seen[i], share, alike[i] if alike else (), box, found.covered[i : i + 1])
            for i, one in enumerate(shown)
        ]

    def _windowed(self, one: Picture, across: int) -> Heatmap:
        size = scale_of(self.model, self.model.tower.image_size)
        whole = resized_short(one.image, (across * size[0], across * size[1]), Image.Resampling.BICUBIC)
        places, pieces = cut(whole, size)
        batches = [pixels_of(self.model, pieces[start : start + _AT_ONCE]) for start in range(0, len(pieces), _AT_ONCE)]
        drawn = [self.draw(pixels) for pixels in batches]
        maps = torch.cat([each.maps.float().cpu() for each in drawn])
        known = [one for each in drawn for one in each.covered]
        found = stitched(maps, places, size, (whole.height, whole.width), share_of(self.model))
        check_sound(self.model, found, "the map")
        alike = self._alike(self._seen_whole(one.image), None)
        return self._made(one, found.numpy(), np.asarray(whole), (1.0, 1.0), alike[0] if alike else (), _whole, known)

    def _seen_whole(self, image: Image.Image) -> Tensor:
        """A picture as the model's own preprocessing makes it, or its middle where that does not resize."""
        pixels, size = pixels_of(self.model, [image]), self.model.tower.image_size
        return pixels if tuple(pixels.shape[-2:]) == size else pixels_of(self.model, [fitted(image, size, "crop")])

    def _alike(self, pixels: Tensor, embeddings: Tensor | None) -> list[tuple[float, ...]]:
        """The model's own cosines of the pictures and the texts."""
        if self.texts is None:
            return []
        own = self.model.encode_image(pixels) if embeddings is None else embeddings
        found = F.normalize(own.to(self.texts), dim=1) @ self.texts.T
        return [tuple(row) for row in found.tolist()]

    def _made(
        self,
        one: Picture,
        grid: np.ndarray,
        seen: np.ndarray,
        share: tuple[float, float],
        alike: tuple[float, ...],
        box: Callable[[tuple[int, int]], Box | None],
        known: Sequence[Covered],
    ) -> Heatmap:
        size = (one.image.height, one.image.width)
        return Heatmap(
            self.titles, grid, seen, self.quantity, self.signed or bool((grid < 0).any()), share,
            similarity=alike, name=one.name, model=self.model.name, options=self.options,
            original=Original(size, one.read, partial(box, size)), covered=together(known),
        )  # fmt: skip


def heatmap_of(
    model: Model, image: Image.Image, texts: Sequence[str], options: HeatmapOptions | None = None
) -> Heatmap:
    """The map of one picture at hand; `summand.heatmap` is for people."""
    return drawing(model, texts, options or HeatmapOptions()).of([Picture("", image, lambda: image)])[0]


def drawing(model: Model, texts: Sequence[str], options: HeatmapOptions) -> Drawing:
    """How maps of these texts are drawn. Raises `SummandError` for texts, parts or methods that do not fit."""
    if options.neuron is not None:
        unit = _named(options.neuron, "neuron", ":", "layer:neuron, such as 9:2914")
        maps = partial(neuron_map, model, layer=unit[0], neuron=unit[1])
        return Drawing(
            model, options, (f"neuron {options.neuron}",), "activation",
            lambda pixels: Drawn(maps(pixels)[:, None]), None, signed=False,
        )  # fmt: skip
    if options.latent is not None and not texts:
        layer, latent = _named(options.latent, "latent", "#", "layer#latent, such as 9#1234")
        check_latent(model, layer, latent)
        return Drawing(
            model, options, (f"latent {options.latent}",), "activation",
            lambda pixels: Drawn(latent_map(model, pixels, layer, latent)[:, None]), None, signed=False,
        )  # fmt: skip
    method = None if options.method in (None, _PLAIN) else _prepared(model, options)
    others = _others(model, options, method)
    encoded, against = model.encode_text([*texts, *others]).split([len(texts), len(others)])
    directions = _directions(model, list(texts), encoded, against, options, method)
    title = f"{texts[0]}  (red)\nversus {options.versus}  (blue)"
    titles = (title,) if options.versus is not None else tuple(texts)
    asked = encoded if options.versus is None else directions
    draw, quantity = _draw(model, directions, options, method)
    return Drawing(model, options, titles, quantity, draw, asked)


def _draw(
    model: Model, directions: Tensor, options: HeatmapOptions, method: MapMethod | None
) -> tuple[Callable[[Tensor], Drawn], str]:
    if options.head is not None:
        layer, head = parse_head(options.head)
        maps: Any = partial(head_maps, model, directions=directions, layer=layer, head=head)
        return lambda pixels: Drawn(maps(pixels)), f"contribution through head {options.head}"
    if options.pair is not None:
        neuron, place = Unit.parse(options.pair, "pair").index
        maps = partial(pair_map, model, directions=directions, neuron=neuron, head=place)
        return lambda pixels: Drawn(maps(pixels)), f"activation × similarity of pair {options.pair}"
    if options.latent is not None:
        layer, latent = _named(options.latent, "latent", "#", "layer#latent, such as 9#1234")
        check_latent(model, layer, latent)
        maps = partial(second_order_maps, model, directions=directions, latents={layer: [latent]})
        return lambda pixels: Drawn(maps(pixels)), f"contribution of latent {options.latent}"
    if method is not None:
        return lambda pixels: Drawn(method.of_all(pixels, directions)), f"relevance ({method.title})"
    return partial(_decomposed, model, directions), "contribution"


@torch.no_grad()
def _decomposed(model: Model, directions: Tensor, pixels: Tensor) -> Drawn:
    """`token_maps`, with the embeddings that the same pass made."""
    parts, tower = model.decompose(pixels), model.tower
    found = parts.tokens_toward(directions)[:, tower.prefix :].transpose(1, 2).unflatten(2, tower.grid)
    sums = parts.sums()
    ways = tuple(name for name in ("second-order",) if applies(model, name) is None)
    return Drawn(found, sums.sum(dim=1), covered(sums, directions, ways))


def _prepared(model: Model, options: HeatmapOptions) -> MapMethod:
    name = str(options.method)
    choose(model, [name])
    learnt = learnt_from(model, options.reference)[0] if needs_reference([name]) else None
    return replace(prepare(model, name, learnt), shape="signed")  # what speaks against a text is shown too


def _others(model: Model, options: HeatmapOptions, method: MapMethod | None) -> list[str]:
    """The texts whose mean is taken away from each of those that are drawn."""
    if options.versus is not None:
        return [options.versus]
    if options.contrast is None and method is not None and not method.contrast:
        return []
    return default_contrast(model) if options.contrast is None else contrast_texts(options.contrast)


def _directions(
    model: Model, texts: list[str], encoded: Tensor, against: Tensor, options: HeatmapOptions, method: MapMethod | None
) -> Float[Tensor, "text embed"]:
    """What is drawn for each text."""
    found = encoded - against.mean(dim=0) if len(against) else encoded
    check_sound(model, found, "the embedding of a text")
    same = [text for text, row in zip(texts, found, strict=True) if float(row.norm()) < _SAME]
    if same:
        what = "versus" if options.versus is not None else "contrast"
        raise SummandError(f"{same[0]!r} is the same as what it is compared with; give another text, or another {what}")
    return F.normalize(found, dim=1) if method is not None and method.unit else found


def parse_head(head: str) -> tuple[int, int]:
    """ "22.11" → layer 22, head 11."""
    return _named(head, "head", ".", "layer.head, such as 22.11")


def _named(value: Any, kind: str, mark: str, form: str) -> tuple[int, int]:
    if mark not in str(value):
        raise SummandError(f"a {kind} is given as {form}; got {value!r}")
    unit = Unit.parse(value, kind)
    found = unit.index if unit.group.layer is None else (unit.group.layer, *unit.index)
    return found[0], found[1]


def _whole(size: tuple[int, int]) -> Box:
    return (0.0, 0.0, float(size[1]), float(size[0]))
