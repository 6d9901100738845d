"""The figure of `match`: where words look, lines between patches, or a matrix of words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb

from ..maps.match import Match, Side
from ..maps.placing import placed
from ..studies.match.result import Matched
from ..towers.pieces import SPECIAL
from .figures import short, style

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4FA3", "#8C6D31")
"""Okabe and Ito's, which people who see colours otherwise tell apart, and two more."""
_SHOWN = 8  # words that have a colour
_GREY = (-60, 300)  # what a picture below colours is drawn between
_OVER = 0.85  # of the colour where a word looks most
_WEAK = 0.1  # of the strongest: words and lines below it are not drawn
_CELLS = 24  # words along a side up to which numbers stand in the cells


def figure(result: Matched) -> Any:
    """A picture and a text: the picture in the colours of the words that look there, and each word's map. Two pictures:
    lines between their strongest patches. Two texts: the matrix."""
    found = result.found
    with style():
        if found.a.kind == found.b.kind == "image":
            return _lines(result)
        return _matrix(result) if found.a.kind == found.b.kind else _words(result)


def _words(result: Matched) -> Any:
    from ..plots import Plot

    found = result.found
    image, text, whole = _of_words(found)
    values = whole[image.prefix :]
    chosen = strongest_words(text, values)
    maps = placed(
        torch.from_numpy(np.stack([values[:, i].reshape(image.grid) for i in chosen]))[None].float(), _size(image)
    )[0].numpy()
    across = max(2, math.ceil(math.sqrt(len(chosen) + 1)))
    down = -(-(len(chosen) + 1) // across)
    high = 1.9 * max(2, down)
    figure = Plot(figsize=(high + 1.6 * across + 0.4, high + 0.7), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[high, 1.6 * across])[0]
    axis = left.subplots()
    axis.imshow(coloured(image, maps))
    axis.set_title(_sentence(result), fontsize=9, parse_math=False)
    axis.set_axis_off()
    _legend(axis, [text.words[i][0] for i in chosen])
    limit = float(np.abs(maps).max()) or 1.0
    axes = right.subplots(down, across, squeeze=False).ravel()
    for each in axes:
        each.set_axis_off()
    axes[0].imshow(image.picture)
    axes[0].set_title("picture", fontsize=9)
    for axis, colour, word, own in zip(axes[1:], COLOURS, chosen, maps, strict=False):
        _grey(axis, image)
        axis.imshow(own, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.6)
        adds = f"{whole[:, word].sum():+.4f}".replace("-", "−")
        axis.set_title(f"{text.words[word][0]}  {adds}", fontsize=9, color=colour, parse_math=False)
    return figure


def _of_words(found: Match) -> tuple[Side, Side, np.ndarray]:
    """The image, the text, and [token, word]."""
    image, text = (found.a, found.b) if found.a.kind == "image" else (found.b, found.a)
    values = found.words if found.a.kind == "image" else found.words.T
    return image, text, values


def strongest_words(text: Side, values: np.ndarray) -> list[int]:
    """The words of a text that a patch speaks for most, in their order; no marks of start and end."""
    words = [i for i, (word, _) in enumerate(text.words) if word not in SPECIAL]
    most = values.max(axis=0)
    best = sorted(words, key=lambda i: -float(most[i]))[:_SHOWN]
    return sorted(i for i in best if most[i] > 0 and most[i] >= _WEAK * most[best[0]]) or best[:1]


def coloured(image: Side, maps: np.ndarray) -> np.ndarray:
    """The picture in grey, each pixel in the colour of the word that looks there most, against where it looks most; a
    word whose strongest patch adds little beside that of the others is pale."""
    assert image.picture is not None
    grey = (image.picture.mean(axis=2, keepdims=True).repeat(3, axis=2) - _GREY[0]) / (_GREY[1] - _GREY[0])
    strongest = np.maximum(maps.max(axis=(1, 2)), 1e-12)
    shares = maps / strongest[:, None, None]
    best, most = shares.argmax(axis=0), shares.max(axis=0)
    worth = np.sqrt(strongest / strongest.max())[best]
    cover = _OVER * (worth * np.clip(most, 0, 1) ** 1.5)[..., None]
    colours = np.array([to_rgb(colour) for colour in COLOURS])[best]
    return cover * colours + (1 - cover) * grey


def _legend(axis: Any, words: list[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=word) for colour, word in zip(COLOURS, words, strict=False)]
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, fontsize=9, handlelength=1)


def _lines(result: Matched) -> Any:
    from matplotlib.patches import ConnectionPatch, Rectangle

    from ..plots import Plot

    found = result.found
    figure = Plot(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, side in zip(axes, (found.a, found.b), strict=True):
        axis.imshow(side.picture)
        axis.set_title(short(Path(side.label).name, 50), fontsize=9, parse_math=False)
        axis.set_axis_off()
    some = lines_between(found, result.options.top)
    most = max((value for _, _, value in some), default=1.0)
    for place, (i, j, value) in enumerate(some):
        colour, ends = COLOURS[place % len(COLOURS)], []
        for axis, side, patch in ((axes[0], found.a, i), (axes[1], found.b, j)):
            left, top, width, height = _cell(side, patch)
            axis.add_patch(Rectangle((left, top), width, height, fill=False, color=colour, linewidth=1.6))
            ends.append((left + width / 2, top + height / 2))
        figure.add_artist(
            ConnectionPatch(ends[0], ends[1], "data", "data", axesA=axes[0], axesB=axes[1], color=colour,
                            linewidth=0.6 + 2.4 * value / most, alpha=0.9)
        )  # fmt: skip
    said = "lines: the pairs of patches that add most" if some else "no pair of patches adds anything"
    figure.suptitle(f"{_sentence(result)}\n{said}", fontsize=9)
    return figure


def lines_between(found: Match, most: int) -> list[tuple[int, int, float]]:
    """The strongest pairs of patches that speak for the similarity, no patch in two of them."""
    values = found.matrix[found.a.prefix :, found.b.prefix :].copy()
    some: list[tuple[int, int, float]] = []
    least = max(0.0, _WEAK * float(values.max(initial=0)))
    while len(some) < most and (best := values.max()) > least:
        i, j = (int(place) for place in np.unravel_index(values.argmax(), values.shape))
        some.append((i, j, float(best)))
        values[i], values[:, j] = -np.inf, -np.inf
    return some


def _cell(side: Side, patch: int) -> tuple[float, float, float, float]:
    (height, width), (rows, columns) = _size(side), side.grid
    row, column = divmod(patch, columns)
    return column * width / columns - 0.5, row * height / rows - 0.5, width / columns, height / rows


def _matrix(result: Matched) -> Any:
    from ..plots import Plot

    found = result.found
    values = found.words
    rows, columns = ([word for word, _ in side.words] for side in (found.a, found.b))
    figure = Plot(figsize=(2.2 + 0.55 * len(columns), 1.8 + 0.42 * len(rows)), layout="constrained")
    axis = figure.subplots()
    limit = float(np.abs(values).max()) or 1.0
    shown = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right", parse_math=False)
    axis.set_yticks(range(len(rows)), rows, parse_math=False)
    axis.grid(visible=False)
    if max(values.shape) <= _CELLS:
        for (i, j), value in np.ndenumerate(values):
            if abs(value) > 0.05 * limit:
                colour = "white" if abs(value) > 0.6 * limit else "black"
                said = f"{1000 * value:+.1f}".replace("-", "−")
                axis.text(j, i, said, ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(shown, ax=axis, label="adds to the cosine", shrink=0.9)
    axis.set_title(_sentence(result) + "\nin the cells: thousandths", fontsize=9)
    return figure


def _sentence(result: Matched) -> str:
    share = result.account["tokens"]["tokens"]
    said = f"cosine {result.similarity:+.3f}, of which these tokens add {share:+.3f}"
    return said.replace("-", "−")


def _size(image: Side) -> tuple[int, int]:
    assert image.picture is not None
    return image.picture.shape[0], image.picture.shape[1]


def _grey(axis: Any, image: Side) -> None:
    assert image.picture is not None
    axis.imshow(image.picture.mean(axis=2), cmap="gray", vmin=_GREY[0], vmax=_GREY[1])
