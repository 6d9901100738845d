"""The figure of `debias`: every group's accuracy before and after, beside the best random control."""

from __future__ import annotations

import textwrap
from typing import Any

from ..studies.debias.result import Debiased
from .figures import BAR, SECOND_BAR, panels, short, style

_MOST = 20
_AFTER = {"color": "#1b4f8a", "edgecolor": "#1b4f8a", "linewidth": 0.8}
_THICK = 0.26


def figure(made: Debiased) -> Any:
    """Three bars for every group, the worst group of each way in bold; of many groups those that are worst in any."""
    columns = {
        "before": ("before", made.before.worst, BAR),
        "after": ("after", made.after.worst, _AFTER),
    }
    if made.best_random is not None:
        columns["random"] = (f"best of {len(made.random)} random", made.best_random.worst, SECOND_BAR)
    every = made.rows.to_dict("records")
    kept = sorted(every, key=lambda row: min(row[key] for key in columns))[:_MOST]
    rows = sorted(kept, key=lambda row: row["before"])
    with style():
        drawn, (axes,) = panels(1, width=6.8, height=1.5 + 0.5 * len(rows))
        for place, (key, (name, worst, look)) in enumerate(columns.items()):
            places = [row + (place - 1) * _THICK for row in range(len(rows))]
            values = [100 * row[key] for row in rows]
            axes.barh(places, values, height=_THICK, label=name, **look)
            for where, row in zip(places, rows, strict=True):
                lowest = row[key] == worst
                text = f"{100 * row[key]:.1f}" + ("  worst group" if lowest else "")
                axes.text(100 * row[key] + 1, where, text, va="center", fontsize=7, weight="bold" if lowest else None)
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows], parse_math=False)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set(xlim=(0, 108), xticks=range(0, 101, 20), xlabel="accuracy of the group, %")
        axes.grid(visible=False, axis="y")
        title = f"{made.asked} on {made.data}: {made.title}"
        few = f"\nthe {len(rows)} worst of {len(every)} groups" if len(rows) < len(every) else ""
        drawn.suptitle("\n".join(textwrap.wrap(title, 95)) + few, fontsize=9, parse_math=False)
        drawn.legend(loc="outside lower center", ncols=len(columns))
    return drawn


def _label(row: dict[str, Any]) -> str:
    """Class over group, each on one line and cut, to leave room for the bars."""
    return " /\n".join(short(" ".join(row[key].split()), 30) for key in ("class", "group"))
