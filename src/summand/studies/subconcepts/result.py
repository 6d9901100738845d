"""Neurons against their pairs, as a result."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ...data import ImageSource
from ..columns import Column, Table
from ..result import Result
from .tops import TopsOfPairs

_SHOWN = 12  # neurons of a survey
UNNAMED = "no text of the pool is nearer than chance"


class Subconcepts(Result):
    """How alike the top images of neurons and of their pairs are.

    rows: of named units a row for each neuron and, behind it, for each of its pairs, the most alike first: unit,
    inertia, words, cosine (of the direction with the first of them), fits (whether it is nearer than chance), images,
    indices. Of all neurons a row each: unit, inertia, pairs (the median), best (the narrowest pair), best_inertia.
    inertia: medians of neurons and pairs, chance (of as many random images), narrower (the share of pairs that are
    narrower than their neuron). found: all of it as tensors.
    """

    command: ClassVar[str] = "subconcepts"
    drawn_by: str | None = "summand.report.subconcepts:figure"
    inertia: dict[str, float]
    units: list[str] | None
    images: int

    def __init__(self, rows: Any, options: Any, *, found: TopsOfPairs, source: ImageSource, **more: Any) -> None:
        super().__init__(rows, options, **more)
        self.found, self.source = found, source

    def tables(self) -> list[Table]:
        return [self._all() if self.units is None else self._units()]

    def _units(self) -> Table:
        rows = [
            {**row, "unit": f"{'  pair' if 'x' in row['unit'] else 'neuron'} {row['unit']}", "words": said(row)}
            for row in self.rows.to_dict("records")
        ]
        columns = (
            Column("unit", kind="id"),
            Column("inertia", form=".2f"),
            Column("cosine", form=".2f"),
            Column("words", "words nearest to its direction", kind="words"),
        )
        caption = (
            f"inertia 0: all images alike; {self.options.top} random images: {self.inertia['chance']:.2f}. "
            f"{self.inertia['narrower']:.0%} of the pairs are narrower than their neuron."
        )
        return Table(pd.DataFrame(rows), columns, f"{self.options.top} top images each", caption)

    def _all(self) -> Table:
        columns = (
            Column("unit", "neuron", kind="id"),
            Column("inertia", form=".2f"),
            Column("pairs", "median pair", form=".2f"),
            Column("best", "narrowest", kind="id"),
            Column("best_inertia", "its inertia", form=".2f"),
        )
        more = f"{len(self.rows) - _SHOWN} more neurons. " if len(self.rows) > _SHOWN else ""
        caption = (
            f"{more}Median inertia: neurons {self.inertia['neurons']:.2f}, pairs {self.inertia['pairs']:.2f}, random "
            f"images {self.inertia['chance']:.2f}; {self.inertia['narrower']:.0%} of the pairs are narrower than their "
            f"neuron. See one with unit {self.rows['unit'][0]}."
        )
        title = f"neurons whose pairs tell most apart ({self.options.top} top images each)"
        return Table(self.rows.head(_SHOWN), columns, title, caption)


def said(row: dict[str, Any]) -> str:
    """What a unit is called."""
    return " · ".join(row["words"]) if row["fits"] else UNNAMED
