"""What a picture holds, as a result."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ...maps.heatmap import Heatmap
from ..columns import Column, Table
from ..result import Result

_UNITS = 5  # that are shown


class Concepts(Result):
    """What a picture holds, in words.

    rows: the picture's own sparse code, text and coefficient, largest first; cosine: of this code with the centred
    picture. words: word, score (App. A.5) of the significant units together, best first: on scenes half of them are
    true, where all of the own code's are. units: these units, the one furthest above its threshold first: unit, norm
    ‖φ − b‖, along (the projection on r), threshold, words. maps: of the first texts of the code, None where none were
    asked for.
    """

    command: ClassVar[str] = "concepts"
    drawn_by: str | None = "summand.report.concepts:figure"
    words: list[dict[str, Any]]
    units: list[dict[str, Any]]
    cosine: float

    def __init__(self, rows: Any, options: Any, *, maps: Heatmap | None = None, **more: Any) -> None:
        super().__init__(pd.DataFrame(list(rows), columns=["text", "coefficient"]), options, **more)
        self.maps = maps
        if maps is None:
            self.drawn_by = None

    def tables(self) -> list[Table]:
        said = f"{len(self.units)} significant units say (often less true)"
        words = Column("word", kind="words"), Column("score", form=".3f")
        code = Column("text", kind="words"), Column("coefficient", form=".3f")
        own = f"the picture's own description (cosine {self.cosine:.2f})"
        if not self.words:
            said = "no unit is moved unusually far by this picture"
        return [
            Table(self.rows, code, title=own),
            Table(pd.DataFrame(self.words, columns=["word", "score"]), words, title=said),
            *([self._units()] if self.units else []),
        ]

    def _units(self) -> Table:
        rows = [
            {
                "unit": unit["unit"],
                "usual": unit["norm"] / max(unit["threshold"], 1e-12),
                "words": "; ".join(unit["words"]) or "(none of its texts)",
            }
            for unit in self.units[:_UNITS]
        ]
        columns = (
            Column("unit", kind="id"),
            Column("usual", "× usual", form=".2f"),
            Column("words", "its words", kind="words"),
        )
        return Table(pd.DataFrame(rows), columns, title="the units moved furthest")
