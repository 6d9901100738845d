"""Every model by name, and whether its sum is exact."""

from __future__ import annotations

from typing import Any, ClassVar

from ...models.load import catalogue
from ..columns import Column, Table
from ..result import Result


class Models(Result):
    """rows: model, tower, terms, exact, reason (None where exact), tags (how many trained sets of weights)."""

    command: ClassVar[str] = "models"

    def tables(self) -> list[Table]:
        rows = self.rows.assign(
            about=[" + ".join(terms) if exact else f"no: {reason}" for terms, exact, reason in
                   zip(self.rows["terms"], self.rows["exact"], self.rows["reason"], strict=True)]
        )  # fmt: skip
        columns = (
            Column("model", kind="id"),
            Column("tags", "weights"),
            Column("tower", "image tower", kind="words"),
            Column("about", "terms, or why not", kind="words"),
        )
        return [Table(rows, columns)]


def models() -> Models:
    """A row for every name that `summand.load` knows."""
    rows: list[dict[str, Any]] = catalogue()
    exact = sum(row["exact"] for row in rows)
    note = f"{exact} of {len(rows)} models can be taken apart exactly; weights: how many trained sets there are"
    return Models(rows, None, notes=[note])
