"""The figure of `ablate`: a panel for each family, the model as it is as the base line of all."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

from ..studies.ablation.run import Ablations, Row
from .figures import BAR, BASE_LINE, STYLES, line, panels, short, style


def figure(made: Ablations, title: str) -> Any:
    """Bars for single ablations, lines for series; accuracy in per cent on one scale in every panel."""
    families: dict[str, list[Row]] = {}
    for row in made.rows:
        families.setdefault(row.version.family, []).append(row)
    with style():
        drawn, axes = panels(max(1, len(families)), width=3.6 if len(families) > 1 else 4.8)
        for panel, (family, rows) in zip(axes, families.items(), strict=True):
            if made.axes[family]:
                _lines(panel, rows, made.axes[family])
                panel.axhline(100 * made.baseline, **BASE_LINE)
                panel.set(ylim=(0, 104), ylabel="zero-shot accuracy, %", title=family)
            else:
                _bars(panel, rows)
                panel.axvline(100 * made.baseline, **BASE_LINE)
                panel.set(xlim=(0, 104), xlabel="zero-shot accuracy, %", title="single terms mean-ablated")
        drawn.suptitle(f"{title}\ndotted: the model as it is, {100 * made.baseline:.1f} %", fontsize=9)
    return drawn


def _lines(panel: Any, rows: list[Row], axis: str) -> None:
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(str(row.version.series), []).append(row)
    for place, (name, points) in enumerate(series.items()):
        if points[0].version.x is None:
            panel.axhline(100 * points[0].accuracy, label=_label(name), alpha=0.7, **{**STYLES[-1], "marker": ""})
            continue
        line(panel, place, [float(p.version.x or 0) for p in points], [100 * p.accuracy for p in points], _label(name))
    places = sorted({float(row.version.x) for row in rows if row.version.x is not None})
    if places and places[0] > 0 and places[-1] / places[0] >= 10:
        panel.set_xscale("log", base=2)
        panel.minorticks_off()
    panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.set_xlabel(axis)
    panel.legend(loc="lower right" if rows[-1].accuracy > 0.5 else "lower left")


def _label(name: str) -> str:
    """A label that leaves room for the panel: files by their names alone, and cut."""
    name = " ".join(PurePath(word).name if os.sep in word else word for word in name.split(" "))
    return short(name, 29)


def _bars(panel: Any, rows: list[Row]) -> None:
    names = [row.version.name for row in rows]
    panel.barh(range(len(rows)), [100 * row.accuracy for row in rows], height=0.6, **BAR)
    panel.set_yticks(range(len(rows)), [_label(name) for name in names])
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    for place, row in enumerate(rows):
        panel.annotate(f"{100 * row.accuracy:.1f}", (2, place), va="center", fontsize=8, annotation_clip=False)
