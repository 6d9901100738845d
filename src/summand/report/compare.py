"""The figure of `compare`: shares of properties, what became tied, and the units that changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..studies.compare.result import Compared
from .figures import BAR, BASE_LINE, SECOND_BAR, STYLES, style

_NAMED = 6  # units with a name


def figure(result: Compared) -> Any:
    """Bars of every property's share before and after; the change of every tie; every unit's change of variance against
    how its effects on the same images go together."""
    from ..plots import Plot

    with style():
        figure = Plot(figsize=(12.6, 4), layout="constrained")
        axes = figure.subplots(1, 3)
        _shares(axes[0], result)
        _ties(figure, axes[1], result)
        _units(axes[2], result)
        figure.suptitle(result.model, fontsize=10)
    return figure


def _shares(axis: Any, result: Compared) -> None:
    rows = sorted((row for row in result.rows.to_dict("records") if row["how"] == "share"), key=lambda row: row["what"])
    places = np.arange(len(rows))
    axis.barh(places - 0.2, [row["before"] for row in rows], 0.38, label="before", **BAR)
    axis.barh(places + 0.2, [row["after"] for row in rows], 0.38, label="after", **SECOND_BAR)
    axis.set_yticks(places, [f"{row['what']}{' *' if row['named'] else ''}" for row in rows])
    axis.invert_yaxis()
    axis.set_xlabel("share of what is read (*: more than images change it)")
    axis.legend()


def _ties(figure: Any, axis: Any, result: Compared) -> None:
    rows = [row for row in result.rows.to_dict("records") if row["how"] == "tie"]
    names = sorted({name for row in rows for name in row["what"].split("–")})
    values = np.full((len(names), len(names)), np.nan)
    limit = max([0.05, *(abs(row["after"] - row["before"]) for row in rows)])
    for row in rows:
        i, j = sorted(names.index(name) for name in row["what"].split("–"))
        values[j, i] = change = row["after"] - row["before"]
        if row["named"]:
            colour = "white" if abs(change) > 0.6 * limit else "black"
            axis.text(i, j, f"{change:+.2f}".replace("-", "−"), ha="center", va="center", fontsize=8, color=colour)
    shown = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.grid(visible=False)
    figure.colorbar(shown, ax=axis, label="change of the tie (RV coefficient)", shrink=0.85)


def _units(axis: Any, result: Compared) -> None:
    for kind, look in zip(dict.fromkeys(row["kind"] for row in result.units), STYLES, strict=False):
        some = [row for row in result.units if row["kind"] == kind]
        x = [np.log2(max(row["after"], 1e-9) / max(row["before"], 1e-9)) for row in some]
        y = [row["correlation"] for row in some]
        size = 6 + 300 * np.array([row["change"] for row in some])
        axis.scatter(x, y, s=np.minimum(size, 120), color=look["color"], marker=look["marker"], alpha=0.5, linewidths=0,
                     label=f"{kind}s")  # fmt: skip
    for row in [row for row in result.units if row["sure"]][:_NAMED]:
        place = (np.log2(max(row["after"], 1e-9) / max(row["before"], 1e-9)), row["correlation"])
        axis.annotate(row["unit"], place, fontsize=8, xytext=(4, 3), textcoords="offset points")
    axis.axvline(0, **BASE_LINE)
    axis.set_xlabel("variance along the texts, log2 (after / before)")
    axis.set_ylabel("correlation of its effects on the same images")
    axis.legend()
