"""What changed between two sets of images, as a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from ...data import ImageSource, Skipped
from ..columns import Column, Table
from ..result import Result
from .compare import ShiftResult, moved
from .readings import Measured
from .reference import Reference

_SHOWN = 10


@dataclass(frozen=True)
class Compared:
    """Two measured sets and what tests said of them: what a figure and a page are drawn from.

    source, reference_source: where pictures can be read again, None where only their numbers are at hand. strange:
    why the model cannot know these pictures.
    """

    result: ShiftResult
    reference: Reference
    current: Measured
    source: ImageSource | None
    reference_source: ImageSource | None
    label: str
    random_weights: bool = False
    strange: str | None = None


class Shift(Result):
    """Which units read differently.

    rows: a unit each, the strongest change first, as `UnitShift` says, and the pictures that moved most of those that
    changed. words: a row a concept, of units and embedding together, as `WordShift` says; words_p: their one test.
    pixels: a row a measure of the pixels, as `PixelShift` says. first: what changed most, in words, None where nothing
    did. mmd, mmd_p: the test of the whole. images: how many of each set. series: a row a batch, of the column `by`.
    concepts: a row for each named text. alarm: whether it is more than chance. compared: all numbers.
    """

    command: ClassVar[str] = "shift"
    drawn_by: str | None = "summand.report.shift.page:figure"
    paged_by: str | None = "summand.report.shift.page:page"
    mmd: float
    mmd_p: float
    words: list[dict[str, Any]]
    words_p: float
    pixels: list[dict[str, Any]]
    first: str | None
    series: list[dict[str, Any]]
    concepts: list[dict[str, Any]]
    images: dict[str, int]

    def __init__(self, rows: Any, options: Any, *, compared: Compared | None, **more: Any) -> None:
        super().__init__(rows, options, **more)
        self.compared = compared
        if compared is None:
            self.drawn_by = self.paged_by = None

    def record(self) -> dict[str, Any]:
        return {**super().record(), "alarm": self.alarm}

    def tables(self) -> list[Table]:
        if self.compared is None:
            kept = pd.DataFrame([{"watched": self.watched, "images": self.images["reference"], "file": self.saved}])
            columns = (
                Column("watched", kind="id"),
                Column("images"),
                Column("file", "the reference is in", kind="words"),
            )
            return [Table(kept, columns)]
        return [
            *([self._pixels()] if any(row["changed"] for row in self.pixels) else []),
            *([self._words()] if any(row["changed"] for row in self.words) else []),
            self._units(),
            *([self._concepts()] if self.concepts else []),
            *([self._series()] if self.series else []),
        ]

    def _units(self) -> Table:
        sides = {1: "more", -1: "less", 0: "same"}
        rows = [
            row | {"change": f"{sides[(row['effect'] > 0) - (row['effect'] < 0)]} {_sigma(row['effect'])}"}
            for row in self.rows.head(_SHOWN).to_dict("records")
        ]
        columns = (
            Column("unit", kind="id"),
            Column("concept", kind="words"),
            Column("change", kind="id"),
            Column("strength", form=".2f"),
            Column("p", form=".1e"),
            Column("q", "p corrected", form=".1e"),
        )
        verdict = "ALARM: the images changed" if self.alarm else "No alarm: no more than chance"
        verdict += f", most of all: {self.first}" if self.alarm and self.first else ""
        caption = (
            f"{self.images['reference']} reference and {self.images['current']} current images; the whole: MMD p = "
            f"{self.mmd_p:.3f}. {verdict}."
        )
        return Table(pd.DataFrame(rows), columns, "Units, strongest change first", caption)

    def _pixels(self) -> Table:
        rows = [row for row in self.pixels if row["changed"]]
        columns = (
            Column("said", "change", kind="words"),
            Column("effect", "by", kind="id", form=_sigma),
            Column("distance", form=".2f"),
            Column("p", form=".1e"),
        )
        return Table(pd.DataFrame(rows), columns, "The pixels, measured; words below may follow from these")

    def _words(self) -> Table:
        rows = [
            row | {"by": ", ".join(row["units"][:4]) or "(the whole alone)"} for row in self.words if row["changed"]
        ][:_SHOWN]
        columns = (
            Column("concept", kind="words"),
            Column("effect", "change", kind="id", form=_sigma),
            Column("p", "p corrected", form=".1e"),
            Column("by", "units that moved", kind="words"),
        )
        return Table(pd.DataFrame(rows), columns, "Words, of units and the whole together")

    def _concepts(self) -> Table:
        columns = (
            Column("concept", kind="words"),
            Column("effect", "change", kind="id", form=_sigma),
            Column("p", form=".1e"),
        )
        return Table(pd.DataFrame(self.concepts), columns, "Named concepts")

    def _series(self) -> Table:
        rows = [
            row | {"verdict": "ALARM" if row["alarm"] else "quiet", "most": f"{row['unit']}: {row['concept']}"}
            for row in self.series
        ]
        columns = (
            Column("batch", str(self.options.by or "batch"), kind="id"),
            Column("images"),
            Column("verdict", kind="id"),
            Column("most", "strongest", kind="words"),
            Column("effect", "change", kind="id", form=_sigma),
            Column("q", "p", form=".1e"),
            Column("mmd_p", "p whole", form=".3f"),
        )
        return Table(pd.DataFrame(rows), columns, f"Over {self.options.by or 'batches'}")


def _sigma(change: float) -> str:
    return f"{change:+.2f} σ".replace("-", "−")


def shift_of(
    compared: Compared,
    options: Any,
    name: Callable[[int], str],
    *,
    model: str,
    data: str,
    skipped: Sequence[Skipped],
    series: Sequence[dict[str, Any]] = (),
    concepts: Sequence[dict[str, Any]] = (),
    **more: Any,
) -> Shift:
    """The result of a comparison. name: what an image of the current set is called."""
    result, reference = compared.result, compared.reference
    rows = [
        {**unit.row(), "pictures": [name(int(i)) for i in moved(unit, compared.current)] if unit.changed else []}
        for unit in result.rows
    ]
    return Shift(
        rows, options, compared=compared, model=model, data=data,
        alarm=result.alarm or any(row["alarm"] for row in series),
        mmd=result.mmd, mmd_p=result.mmd_p, words=[row.row() for row in result.words], words_p=result.words_p,
        pixels=[row.row() for row in result.pixels], first=result.first,
        watched=reference.readings.group.name, reference=reference.label,
        images={"reference": result.reference_images, "current": result.current_images},
        series=list(series), concepts=list(concepts),
        skipped=[{"name": item.name, "reason": item.reason} for item in skipped], **more,
    )  # fmt: skip
