"""Labels beside the truth, as a result."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ..columns import Column, Table
from ..result import Result


class Truth(Result):
    """Every head's label beside what it carries.

    rows: head, its first texts, the attribute that they name, the true one (which explains most of the head's variance)
    and its share, and the attribute whose change moves the head most, relative to the other heads. summary: how often
    these agree, among the heads that one attribute dominates.
    """

    command: ClassVar[str] = "truth"
    summary: dict[str, Any]

    def tables(self) -> list[Table]:
        rows = self.rows.assign(texts=["; ".join(texts) for texts in self.rows["texts"]])
        columns = (
            Column("head", kind="id"),
            Column("texts", "first texts", kind="words"),
            Column("named", kind="id"),
            Column("true", kind="id"),
            Column("share", form=".2f"),
            Column("moved_most_by", "moved by", kind="id"),
        )
        return [Table(rows, columns), self._summary()]

    def _summary(self) -> Table:
        found = self.summary
        of = f"{found['dominant']} of {found['heads']}"
        agree = f"{round(found['agreement'] * found['dominant'])}" if found["dominant"] else "0"
        alike = round(found["agreement_all_heads"] * found["heads"])
        measures = [
            (f"heads with a dominant attribute (≥ {self.options.dominant:.0%} of the variance)", of),
            ("of these, label names the dominant attribute", f"{agree} ({found['agreement']:.0%})"),
            ("the very first text names it", f"{found['agreement_first_text']:.0%}"),
            ("random texts from the pool name it", f"{found['agreement_random_texts']:.0%}"),
            ("label is the attribute whose change moves the head most", f"{found['agreement_causal']:.0%}"),
            (f"of all {found['heads']} heads, label names the attribute with the largest share", str(alike)),
        ]
        measures += [
            (f"changing {attribute}: movement of heads labelled so over that of the others", f"{factor:.1f} ×")
            for attribute, factor in found["lift"].items()
        ]
        rows = pd.DataFrame(measures, columns=["measure", "value"])
        return Table(rows, (Column("measure", kind="words"), Column("value", str(self.model), kind="number")))
