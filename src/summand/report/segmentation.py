"""Example pictures: what was asked, the mask, and every method's map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from ..studies.segmentation.protocol import Example
from ..studies.segmentation.result import Segmentation
from .figures import short

_MOST = 26  # letters above a picture


def figure(result: Segmentation) -> Any:
    """The examples of a result, or None where it has none."""
    if not result.examples:
        return None
    classes = None if result.task == "figures" else result.classes
    return examples_figure(result.examples, result.titles, classes, result.background)


def examples_figure(
    examples: Sequence[Example],
    titles: Mapping[str, str],
    classes: Sequence[str] | None = None,
    background: int | None = None,
) -> Any:
    """A matplotlib figure: one row a picture, with its mask outlined, and one column a method.

    Maps are those that were scored, 0 … 1 per picture on one colour scale. classes: their names, where the maps are
    class numbers and no shares: the true mask then has a column of its own, and the classes that occur have a legend.
    """
    from ..plots import Plot

    if classes is not None:
        return _of_classes(examples, titles, classes, background)
    rows, columns = len(examples), 1 + len(titles)
    figure = Plot(figsize=(1.55 * columns + 0.5, 1.78 * rows + 0.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    shown = None
    for row, example in enumerate(examples):
        first = axes[row, 0]
        first.imshow(example.picture)
        first.set_title(short(example.text, _MOST), fontsize=8, pad=2, parse_math=False)
        for column, (name, title) in enumerate(titles.items(), start=1):
            axis = axes[row, column]
            shown = axis.imshow(example.maps[name], cmap="magma", vmin=0, vmax=1)
            axis.contour(example.mask == 1, levels=[0.5], colors="#30d5ff", linewidths=0.9)
            if row == 0:
                axis.set_title(fill(title, 23), fontsize=8, pad=2)
    for axis in axes.flat:
        axis.set_axis_off()
    if shown is not None:
        bar = figure.colorbar(shown, ax=list(axes.flat), shrink=0.6, pad=0.01, aspect=30)
        bar.set_label("map, scaled (line: the true mask)", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    return figure


def _of_classes(
    examples: Sequence[Example], titles: Mapping[str, str], classes: Sequence[str], background: int | None
) -> Any:
    """Pictures, their true classes, and the classes that each method says, all in the legend's colours."""
    from matplotlib.patches import Patch

    from ..plots import Plot

    colours = _colours(len(classes), background)
    rows, columns = len(examples), 2 + len(titles)
    occurring = np.unique(np.concatenate([each.ravel() for e in examples for each in (e.mask, *e.maps.values())]))
    listed = [int(number) for number in occurring if number >= 0]
    across = max(1, columns)
    below = 0.2 * -(-len(listed) // across) + 0.1
    figure = Plot(figsize=(1.55 * columns, 1.75 * rows + 0.3 + below), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, example in enumerate(examples):
        axes[row, 0].imshow(example.picture)
        axes[row, 0].set_title(short(example.name, _MOST), fontsize=8, pad=2, parse_math=False)
        drawn = {"true classes": example.mask, **{title: example.maps[name] for name, title in titles.items()}}
        for column, (title, numbers) in enumerate(drawn.items(), start=1):
            axes[row, column].imshow(colours[np.asarray(numbers)], interpolation="nearest")
            if row == 0:
                axes[row, column].set_title(fill(title, 23), fontsize=8, pad=2)
    for axis in axes.flat:
        axis.set_axis_off()
    patches = [Patch(color=tuple(colours[number] / 255), label=short(classes[number], 22)) for number in listed]
    if (occurring < 0).any():
        patches.append(Patch(facecolor="white", edgecolor="0.5", label="does not count"))
    legend = figure.legend(handles=patches, loc="outside lower center", ncols=across, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _colours(count: int, background: int | None) -> np.ndarray:
    """uint8 [class + 1, 3]: the background dark, near numbers far apart; last, what does not count: white."""
    from matplotlib import colormaps

    spread = (np.arange(count) * 0.618034) % 1  # golden section: no two of few are near each other
    bright = np.where(np.arange(count) % 2, 0.75, 1.0)[:, None]
    found = np.asarray(colormaps["turbo"](0.08 + 0.84 * spread))[:, :3] * bright
    if background is not None:
        found[background] = 0.13
    return (255 * np.vstack([found, np.ones(3)])).astype(np.uint8)
