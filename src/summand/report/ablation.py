"""The figure of `ablate`: a panel for each family, the model as it is as the base line of all."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

import pandas as pd

from ..studies.ablation.result import Ablations
from .figures import BAR, BASE_LINE, STYLES, line, panels, short, style


def figure(made: Ablations) -> Any:
    """Bars for single ablations, lines for series; accuracy in per cent on one scale in every panel."""
    families = {str(name): rows for name, rows in made.rows.groupby("family", sort=False)}
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
        usual = f"dotted: the model as it is, {100 * made.baseline:.1f} %"
        drawn.suptitle(f"{made.model} on {made.data}\n{usual}", fontsize=9)
    return drawn


def _lines(panel: Any, rows: pd.DataFrame, axis: str) -> None:
    for place, (name, points) in enumerate(rows.groupby("series", sort=False)):
        accuracy, label = 100 * points["accuracy"], _label(str(name))
        if bool(points["x"].isna().all()):
            panel.axhline(accuracy.iloc[0], label=label, alpha=0.7, **{**STYLES[-1], "marker": ""})
            continue
        line(panel, place, points["x"].tolist(), accuracy.tolist(), label)
    places = sorted(set(rows["x"].dropna()))
    if places and places[0] > 0 and places[-1] / places[0] >= 10:
        panel.set_xscale("log", base=2)
        panel.minorticks_off()
    panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.set_xlabel(axis)
    panel.legend(loc="lower right" if rows["accuracy"].iloc[-1] > 0.5 else "lower left")


def _label(name: str) -> str:
    """A label that leaves room for the panel: files by their names alone, and cut."""
    name = " ".join(PurePath(word).name if os.sep in word else word for word in name.split(" "))
    return short(name, 29)


def _bars(panel: Any, rows: pd.DataFrame) -> None:
    accuracies = [100 * accuracy for accuracy in rows["accuracy"]]
    panel.barh(range(len(rows)), accuracies, height=0.6, **BAR)
    panel.set_yticks(range(len(rows)), [_label(name) for name in rows["ablation"]])
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    for place, accuracy in enumerate(accuracies):
        panel.annotate(f"{accuracy:.1f}", (2, place), va="center", fontsize=8, annotation_clip=False)
