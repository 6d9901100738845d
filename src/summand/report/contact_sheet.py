"""Pictures side by side, each with a line below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..errors import SummandError
from . import figures


def sheet(rows: Sequence[tuple[str, Sequence[tuple[Image.Image, str]]]], columns: int = 8) -> Any:
    """A figure of rows of (picture, caption), each row under a title of its own; long rows are broken after `columns`.

    Raises `SummandError` where there is no picture.
    """
    from ..plots import Plot

    lines: list[tuple[str, Sequence[tuple[Image.Image, str]]]] = []
    for title, pictures in rows:
        for start in range(0, len(pictures), columns):
            lines.append((title if start == 0 else "", pictures[start : start + columns]))
    if not lines:
        raise SummandError("there is no picture to put on a contact sheet")
    wide = max(len(pictures) for _, pictures in lines)
    with figures.style():
        figure = Plot(figsize=(max(3.2, 1.35 * wide), 1.75 * len(lines)), layout="constrained")
        bands = figure.subfigures(len(lines), 1, squeeze=False)[:, 0]
        for band, (title, pictures) in zip(bands, lines, strict=True):
            if title:
                band.suptitle(title, fontsize=9, x=0.01, ha="left", weight="bold", parse_math=False)
            for axes, shown in zip(band.subplots(1, wide, squeeze=False)[0], [*pictures, *[None] * wide], strict=False):
                axes.set_axis_off()
                if shown is not None:
                    axes.imshow(shown[0])
                    axes.set_title(shown[1], fontsize=7, y=-0.24, parse_math=False)
    return figure
