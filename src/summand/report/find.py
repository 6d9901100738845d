"""The figures of `find`: the units' strongest pictures, and all units of an audit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..studies.find.result import Audit, Found
from ..survey.audit import ALIKE
from ..survey.strip import picture_strip, strongest
from ..unit import Unit
from .figures import BASE_LINE, STYLES, short, style

_UNITS, _PICTURES, _ALL = 5, 8, 1000
_LARGEST = 90  # of a dot, in points


def found(result: Found) -> Any:
    """A row of strongest pictures for each of the first units, on the side where they speak for the query."""
    rows, said = [], []
    assert result.source is not None
    for row in result.rows.head(_UNITS).to_dict("records"):
        unit = Unit.parse(str(row["unit"]), str(row["kind"]))
        most, least = strongest(result.survey, unit.group, unit.index, _ALL)
        rows.append((most if row["cosine"] > 0 else least or most)[:_PICTURES])
        said.append(str(row["unit"]))
    title = f"units for {short(result.query, 60)}: {', '.join(said)}"
    return picture_strip(result.source, rows, title, "a row of strongest pictures for each")


def audit(result: Audit) -> Any:
    """Every unit: how alike its strongest images are, against how alike the two halves are that they fall into; and how
    near the nearest unit is."""
    from ..plots import Plot

    kinds = list(dict.fromkeys(result.rows["kind"]))
    groups = [result.rows[result.rows["kind"] == kind] for kind in kinds]
    heaviest = float(np.asarray(result.rows["weight"]).max(initial=1e-12))
    with style():
        figure = Plot(figsize=(8.4, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for kind, some, look in zip(kinds, groups, STYLES, strict=False):
            size = 6 + _LARGEST * np.asarray(some["weight"]) / heaviest
            own = {"s": size, "color": look["color"], "marker": look["marker"], "label": f"{kind}s"}
            left.scatter(some["clarity"], some["between"], alpha=0.45, linewidths=0, **own)
        left.axvline(result.limits.clarity, **BASE_LINE)
        left.axhline(0, **BASE_LINE)
        left.set_xlabel("clarity of its strongest images (left of the line: as random ones)")
        left.set_ylabel("between their two halves (below 0: two things)")
        left.legend()
        lowest = float(np.asarray(result.rows["alike"]).min(initial=0.0))
        colours = [look["color"] for look, _ in zip(STYLES, kinds, strict=False)]
        right.hist([some["alike"] for some in groups], bins=np.linspace(lowest, 1, 40), stacked=True, color=colours)
        right.axvline(ALIKE, **BASE_LINE)
        right.set_yscale("log")
        right.set_xlabel("cosine of its effects with the nearest unit's")
        right.set_ylabel("units")
    return figure
