"""How maps are drawn: beside their picture, over it, and many pictures on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..data.pictures import as_rgb
from ..errors import SummandError

if TYPE_CHECKING:
    from .heatmap import Heatmap

_ACROSS = 5  # pictures side by side
ON_A_SHEET = 12
_GREY = (-60, 300)  # what the picture below a map is drawn between, so that colours stand out


def scale(heatmap: Heatmap, values: np.ndarray) -> dict[str, Any]:
    """Colours and their ends. Both default colour maps are even in lightness: a diverging one for signed maps, viridis
    for amounts."""
    finite = values[np.isfinite(values)]
    limit = float(np.abs(finite).max(initial=0)) or 1.0
    if heatmap.signed:
        return {"cmap": heatmap.options.colours or "RdBu_r", "vmin": -limit, "vmax": limit}
    low, high = min(float(finite.min(initial=0)), 0.0), float(finite.max(initial=0)) or 1.0
    return {"cmap": heatmap.options.colours or "viridis", "vmin": low, "vmax": high}


def panels(heatmap: Heatmap) -> Any:
    """A matplotlib figure: the picture, then each map laid over it, on one colour scale, with its bar."""
    from ..plots import Plot

    maps = heatmap.upsampled()
    look = scale(heatmap, maps)
    across = min(len(maps) + 1, _ACROSS)
    down = -(-(len(maps) + 1) // across)
    figure = Plot(figsize=(3.1 * across + 0.5, (3.6 + _above([heatmap])) * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    shown = _row(list(axes), heatmap, maps, look, "image")
    for axis in axes:
        axis.set_axis_off()
    _bar(figure, shown, list(axes), heatmap.quantity)
    return figure


def _row(axes: Sequence[Any], heatmap: Heatmap, maps: np.ndarray, look: dict[str, Any], title: str) -> Any:
    axes[0].imshow(heatmap.picture)
    axes[0].set_title(fill(title, 34), fontsize=10, parse_math=False)
    shown = None
    for axis, text, values, cosine in zip(axes[1 : len(maps) + 1], heatmap.texts, maps, heatmap.cosines, strict=True):
        axis.imshow(heatmap.picture.mean(axis=2), cmap="gray", vmin=_GREY[0], vmax=_GREY[1])
        shown = axis.imshow(values, alpha=heatmap.options.opacity, **look)
        axis.set_title(_title(text, cosine), fontsize=10, parse_math=False)  # a text may hold dollars
    return shown


def _title(text: str, cosine: float | None) -> str:
    lines = [fill(line, 34) for line in text.split("\n")]
    if cosine is not None:
        lines.append(f"cosine {cosine:+.3f}".replace("-", "−"))
    return "\n".join(lines)


def _above(heatmaps: Sequence[Heatmap]) -> float:
    """Inches that titles of more than two lines need."""
    titles = [_title(*each) for one in heatmaps for each in zip(one.texts, one.cosines, strict=True)]
    return 0.17 * max([0, *(title.count("\n") - 1 for title in titles)])


def _bar(figure: Any, shown: Any, axes: list[Any], quantity: str) -> None:
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.01, panchor=(0.5, 0.0))  # room that is left is the titles'
    bar.set_label(quantity, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def sheet(heatmaps: Any) -> Any:
    """The first pictures of many, a row each, on one colour scale; of a single one its own figure."""
    from ..plots import Plot

    some: list[Heatmap] = list(heatmaps.maps[:ON_A_SHEET])
    if len(some) == 1:
        return some[0].figure()
    maps = [one.upsampled() for one in some]
    look = scale(some[0], np.concatenate([one.ravel() for one in maps]))
    across = max(map(len, maps)) + 1
    figure = Plot(figsize=(2.6 * across + 0.5, (2.9 + _above(some)) * len(some)), layout="constrained")
    axes = figure.subplots(len(some), across, squeeze=False)
    shown = None
    for row, one, values in zip(axes, some, maps, strict=True):
        shown = _row(list(row), one, values, look, one.name)
    for axis in axes.flat:
        axis.set_axis_off()
    _bar(figure, shown, list(axes.flat), some[0].quantity)
    return figure


def laid_over(heatmap: Heatmap) -> Image.Image:
    """The maps over the original picture, pixel by pixel, and nothing else; those of several texts side by side."""
    return Image.fromarray(np.concatenate([np.asarray(one) for one in each_laid_over(heatmap)], axis=1))


def each_laid_over(heatmap: Heatmap) -> list[Image.Image]:
    """The same, a picture for each map, on one colour scale."""
    from matplotlib import colormaps

    if heatmap.original is None or heatmap.original.box is None:
        picture, maps = heatmap.picture, heatmap.upsampled()
    else:
        picture, maps = np.asarray(as_rgb(heatmap.original.read())), heatmap.on_original()
    look = scale(heatmap, maps)
    span = (look["vmax"] - look["vmin"]) or 1.0
    grey = (picture.mean(axis=2, keepdims=True).repeat(3, axis=2) - _GREY[0]) / (_GREY[1] - _GREY[0])
    found = []
    for values in maps:
        there = np.isfinite(values)
        colour = colormaps[look["cmap"]]((np.where(there, values, 0) - look["vmin"]) / span)[..., :3]
        cover = (heatmap.options.opacity * there)[..., None]
        found.append(Image.fromarray((255 * (cover * colour + (1 - cover) * grey)).round().astype(np.uint8)))
    return found


def alone(heatmap: Heatmap) -> Any:
    """`laid_over` as a matplotlib figure, without a margin."""
    from ..plots import Plot

    picture = laid_over(heatmap)
    figure = Plot(figsize=(picture.width / 100, picture.height / 100), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(np.asarray(picture), aspect="auto", interpolation="nearest")
    axis.set_axis_off()
    return figure


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
