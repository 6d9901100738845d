"""The figures of `reproduce`: a panel for each, its lines as they were measured."""

from __future__ import annotations

from typing import Any

from ..studies.reproduce.result import Reproduced
from .figures import BASE_LINE, line, panels, short, style

_LABEL = 29


def figure(made: Reproduced) -> Any:
    """Every curve of the rows; a line without x is level."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for curve in made.curves:
        grouped.setdefault((curve["row"], curve["panel"]), []).append(curve)
    with style():
        drawn, axes = panels(max(1, len(grouped)), width=4.2 if len(grouped) > 1 else 5.4, height=3.2)
        for panel, ((row, title), curves) in zip(axes, grouped.items(), strict=False):
            _drawn(panel, curves)
            panel.set_title(short(f"{row}: {title}", 48))
        drawn.suptitle(f"{made.model} on {made.data}", fontsize=9)
    return drawn


def _drawn(panel: Any, curves: list[dict[str, Any]]) -> None:
    for place, curve in enumerate(curves):
        if len(curve["x"]):
            line(panel, place, curve["x"], curve["y"], short(curve["series"], _LABEL))
        else:
            panel.axhline(curve["y"][0], label=short(curve["series"], _LABEL), **BASE_LINE)
    places = sorted({x for curve in curves for x in curve["x"]})
    if places and places[0] > 0 and places[-1] / places[0] >= 10 and curves[0]["axis"] != "inertia":
        panel.set_xscale("log", base=2)
        panel.minorticks_off()
    if len(places) <= 12:
        panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.set(xlabel=curves[0]["axis"], ylabel=curves[0]["measure"])
    panel.legend(loc="best")
