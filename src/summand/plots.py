"""Figures that show themselves in a notebook. Import it where something is drawn: matplotlib takes its time."""

from __future__ import annotations

from matplotlib.figure import Figure

from .notebook import png


class Plot(Figure):
    """A matplotlib figure that a notebook shows whatever its backend: one that was not made by pyplot is text there."""

    def _repr_png_(self) -> bytes:
        return png(self)
