"""Units that were found, and an audit of all, as results."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ...data import ImageSource
from ...survey.audit import ALIKE, Limits
from ...survey.survey import Survey
from ..columns import Column, Table
from ..result import Result


class Found(Result):
    """rows: kind, unit, cosine (of r_n with the query), predicts (its correlation with the unit on held-out images),
    limit (what 19 of 20 other texts or images stay under) and supported; and the unit's own label, where the survey has
    labels."""

    command: ClassVar[str] = "find"
    drawn_by: str | None = "summand.report.find:found"
    query: str
    units: int

    def __init__(
        self, rows: Any, options: Any, *, survey: Survey, source: ImageSource | None = None, **more: Any
    ) -> None:
        super().__init__(rows, options, **more)
        self.survey, self.source = survey, source
        if source is None or survey.manifest.top == 0:
            self.drawn_by = None

    def tables(self) -> list[Table]:
        columns = [Column("unit", kind="id"), Column("cosine", form="+.2f")]
        caption = f"of {self.units:,} units; cosine of each direction with the query; − speaks against it"
        if "predicts" in self.rows:
            columns += [Column("predicts", form="+.2f"), Column("limit", form=".2f")]
            columns.append(Column("supported", kind="id", form=_yes))
            caption += (
                "\npredicts: correlation of the unit with the query on images kept aside; limit: what 19 of 20 other "
                "queries stay under"
            )
        if "label" in self.rows:
            columns.append(Column("label", "its words", kind="words"))
        return [Table(self.rows, columns, f"units of {self.model} for {self.query}", caption)]


class Audit(Result):
    """rows: a unit each, the one that varies most first, as `survey.audit` has it, and look: why one should look at it.
    counts: the same by kind. limits: what random sets of images reach."""

    command: ClassVar[str] = "find"
    drawn_by: str | None = "summand.report.find:audit"
    limits: Limits
    counts: list[dict[str, Any]]
    units: int
    of: int

    def tables(self) -> list[Table]:
        return [self._counts(), self._units()]

    def _counts(self) -> Table:
        columns = [
            Column("kind", kind="id"),
            Column("units", form=","),
            Column("clarity", form=".2f"),
            Column("clear", form=_percent),
            Column("several", "two things", form=_percent),
            Column("redundant", "has a twin", form=_percent),
        ]
        if any(row["proven"] is not None for row in self.counts):
            columns.append(Column("proven", "proven words", form=_percent))
        left = "" if self.units == self.of else f" of {self.of:,}, those that vary most"
        caption = (
            f"of the {self.limits.images} strongest images of each unit, kept aside. clarity: their mean cosine, less "
            f"the mean image (median of the units); clear: above {self.limits.clarity:.2f}, which 19 of 20 random sets "
            f"stay under; two things: two halves, each alike, and no more alike to each other than any images; has a "
            f"twin: a unit whose effects are the same to a cosine of {ALIKE}"
        )
        return Table(pd.DataFrame(self.counts), columns, f"{self.units:,} units{left}", caption)

    def _units(self) -> Table:
        some = self.rows[[bool(reasons) for reasons in self.rows["look"]]].head(self.options.top)
        rows = some.assign(look=["; ".join(reasons) for reasons in some["look"]])
        columns = [
            Column("unit", kind="id"),
            Column("weight", form=_percent_1),
            Column("clarity", form=".2f"),
            Column("between", form=".2f"),
            Column("alike", form=".2f"),
            Column("look", "why", kind="words"),
        ]
        if "label" in rows:
            columns.append(Column("label", "its words", kind="words"))
        total = sum(bool(reasons) for reasons in self.rows["look"])
        caption = (
            "weight: share of the variance of all units; between: mean cosine of images of its two halves; alike: of "
            "its effects with those of the unit nearest to it"
        )
        return Table(rows, columns, f"where to look first ({total:,} units)", caption)


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def _percent(value: Any) -> str:
    return f"{100 * value:.0f} %"


def _percent_1(value: Any) -> str:
    return f"{100 * value:.1f} %"
