"""Example pictures: what was asked, the mask, and every method's map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from .protocol import Example


def examples_figure(examples: Sequence[Example], titles: Mapping[str, str], classes: int | None = None) -> Any:
    """A matplotlib figure: one row a picture, with its mask outlined, and one column a method.

    Maps are those that were scored, 0 … 1 per picture on one colour scale. classes: how many there are, where the maps
    are class numbers and no shares.
    """
    from matplotlib.figure import Figure

    rows, columns = len(examples), 1 + len(titles)
    figure = Figure(figsize=(1.55 * columns + 0.5, 1.78 * rows + 0.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    look: dict[str, Any] = {"cmap": "magma", "vmin": 0, "vmax": 1}
    if classes is not None:
        look = {"cmap": "tab20", "vmin": 0, "vmax": max(classes - 1, 19), "interpolation": "nearest"}
    shown = None
    for row, example in enumerate(examples):
        first = axes[row, 0]
        first.imshow(example.picture)
        first.set_title(_short(example.text), fontsize=8, pad=2)
        for column, (name, title) in enumerate(titles.items(), start=1):
            axis = axes[row, column]
            shown = axis.imshow(example.maps[name], **look)
            if classes is None:
                axis.contour(example.mask == 1, levels=[0.5], colors="#30d5ff", linewidths=0.9)
            if row == 0:
                axis.set_title(fill(title, 23), fontsize=8, pad=2)
    for axis in axes.flat:
        axis.set_axis_off()
    if classes is None and shown is not None:
        bar = figure.colorbar(shown, ax=list(axes.flat), shrink=0.6, pad=0.01, aspect=30)
        bar.set_label("map, scaled (line: the true mask)", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    return figure


def _short(text: str, most: int = 26) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
