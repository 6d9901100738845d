"""What was published, what was measured, and which claims hold, as a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...atomic import replacing
from ..columns import Column, Table
from ..result import Result
from .claims import as_markdown, claim_rows
from .kept import Kept
from .options import ReproduceOptions
from .row import Curve, Row

_WORDS = 16  # units whose words are shown


class Listed(Result):
    """The tables and figures there are. rows: row, what, data, models."""

    command: ClassVar[str] = "reproduce"

    def tables(self) -> list[Table]:
        columns = (
            Column("row", kind="id"),
            Column("what", kind="words"),
            Column("data", kind="words"),
            Column("models", "the paper's models", kind="words"),
        )
        caption = "Data are given as --data NAME=PATH; every row also has --on scenes, which needs none."
        return [Table(self.rows, columns, "Tables and figures of papers C, A and B", caption)]


class Reproduced(Result):
    """Rows of the papers, held against what is measured here.

    rows: a claim each: row, title, claim, holds, numbers, why (where it does not hold). numbers: row, what, published
    (None where the paper prints none), measured, difference. words: what units say, where a row is of words. curves:
    the lines of the figures. deviates: where a row differs from what was published. seconds: of the processor, a row.
    """

    command: ClassVar[str] = "reproduce"
    drawn_by: str | None = "summand.report.reproduce:figure"
    numbers: list[dict[str, Any]]
    words: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    deviates: dict[str, list[str]]
    seconds: dict[str, float]
    models: dict[str, list[str]]
    titles: dict[str, str]

    @classmethod
    def of(cls, found: Sequence[tuple[Row, Kept]], options: ReproduceOptions, left: Sequence[str]) -> Reproduced:
        scenes = options.on == "scenes"
        numbers = [number for row, kept in found for number in _numbers(row, kept, scenes)]
        curves: list[tuple[str, Curve]] = [(row.id, curve) for row, kept in found for curve in kept.found.curves]
        notes = [f"{row.id}: {note}" for row, kept in found for note in kept.found.notes]
        if options.count is not None:
            notes.append(f"at most {options.count} images of each set: a quick look, no reproduction")
        if left:
            notes.append(f"left out, for their data were not given: {', '.join(left)}")
        before = [row.id for row, kept in found if kept.before]
        if before:
            notes.append(f"found before and not done again: {', '.join(before)}")
        models = {row.id: list(kept.models) for row, kept in found}
        made = cls(
            claim_rows(found),
            options,
            model=", ".join(dict.fromkeys(name for names in models.values() for name in names)),
            data="scenes" if scenes else ", ".join(options.places()),
            notes=notes,
            numbers=numbers,
            words=[
                {"row": row.id, "unit": unit, "words": said} for row, kept in found for unit, said in kept.found.words
            ],
            curves=[{"row": row, **_plain(curve)} for row, curve in curves],
            deviates={row.id: list(row.deviates) for row, _ in found if row.deviates},
            seconds={row.id: round(kept.cpu_seconds, 1) for row, kept in found},
            models=models,
            titles={row.id: row.title for row, _ in found},
        )
        made.drawn_by = made.drawn_by if curves else None
        return made

    def tables(self) -> list[Table]:
        """Of one row all of it; of several the claims alone."""
        several = len(self.seconds) > 1
        return [*([] if several else self._details()), *([self._claims(several)] if len(self.rows) else [])]

    def _claims(self, several: bool) -> Table:
        rows = self.rows.assign(here=["yes" if holds else "NO" for holds in self.rows["holds"]])
        rows["numbers"] = [
            f"{said} ({why})" if why else said for said, why in zip(rows["numbers"], rows["why"], strict=True)
        ]
        first = [Column("row", kind="id")] if several else []
        columns = (
            *first,
            Column("claim", "the paper says", kind="words"),
            Column("here", kind="id"),
            Column("numbers", kind="words"),
        )
        held, seconds = self.rows["holds"].tolist().count(True), sum(self.seconds.values())
        caption = f"{held} of {len(rows)} claims hold here. {seconds:.0f} s of processor time."
        title = "" if several else self._title()
        return Table(rows, columns, title if not self.numbers else "", caption)

    def _title(self) -> str:
        (row,) = self.seconds
        return f"{row}, {self.titles[row]}: {', '.join(self.models[row])} on {self.data}"

    def _details(self) -> list[Table]:
        found = []
        if self.numbers:
            published = any(number["published"] is not None for number in self.numbers)
            columns = (
                Column("what", kind="words"),
                *([Column("published", form=_number)] if published else []),
                Column("measured", form=_number),
                *([Column("difference", form=_signed)] if published else []),
            )
            caption = "\n".join(f"Deviates: {one}." for rows in self.deviates.values() for one in rows)
            found.append(Table(pd.DataFrame(self.numbers), columns, self._title(), caption if published else ""))
        if self.words:
            columns = (Column("unit", kind="id"), Column("words", kind="words"))
            more = len(self.words) - _WORDS
            found.append(
                Table(
                    pd.DataFrame(self.words[:_WORDS]), columns, caption=f"and {more} more (--json)" if more > 0 else ""
                )
            )
        return found

    def save_more(self, folder: Path) -> dict[str, Path]:
        """claims.md, the table of all claims, and numbers.csv."""
        paths = {"claims": folder / "claims.md", "numbers": folder / "numbers.csv"}
        with replacing(paths["claims"]) as temporary:
            temporary.write_text(as_markdown(self.rows, self.seconds, self.options), encoding="utf-8")
        with replacing(paths["numbers"]) as temporary:
            pd.DataFrame(self.numbers).to_csv(temporary, index=False)
        return paths


def _numbers(row: Row, kept: Kept, scenes: bool) -> list[dict[str, Any]]:
    """Published numbers are of other pictures than scenes, so there they stand beside nothing."""
    published = {} if scenes else row.published
    return [
        {
            "row": row.id,
            "what": what,
            "published": published.get(what),
            "measured": value,
            "difference": value - published[what] if what in published else None,
        }
        for what, value in kept.found.numbers.items()
    ]


def _plain(curve: Curve) -> dict[str, Any]:
    return {name: getattr(curve, name) for name in ("panel", "series", "x", "y", "axis", "measure")}


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
