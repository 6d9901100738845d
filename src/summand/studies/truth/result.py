"""Labels beside the truth, as a result."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ..columns import Column, Table
from ..result import Result


class Truth(Result):
    """The words of every unit beside the truth.

    rows: kind, unit, label, verdict, texts; of the first proven end, shown (the share of the 20 fresh scenes furthest
    along it that show its words) and chance; of heads, the attribute that proven words name (named), the one that the
    label says it is of (attribute), the true one (which explains most of the head's variance) and its share, and the
    attribute whose change moves the head most, relative to the other heads. summary: values (a row a kind of unit),
    attributes (by what the words name), and how often named and true attribute agree, among the heads that one
    attribute dominates; the same of the label's attribute (agreement_attribute).
    """

    command: ClassVar[str] = "truth"
    summary: dict[str, Any]

    def tables(self) -> list[Table]:
        columns = [
            Column("unit", kind="id"),
            Column("label", "words", kind="words"),
            Column("shown", form=_percent),
            Column("chance", form=_percent),
        ]
        more = [Column("true", kind="id"), Column("share", form=".2f"), Column("moved_most_by", "moved by", kind="id")]
        found = []
        for kind in dict.fromkeys(self.rows["kind"]):
            some = pd.DataFrame(self.rows[self.rows["kind"] == kind])
            shown = some if kind == "head" else pd.DataFrame(some[some["verdict"] == "proven"]).head(_SHOWN)
            title = (
                f"{kind}s"
                if len(shown) == len(some)
                else f"the first {len(shown)} of {len(some):,} {kind}s, proven ones"
            )
            found.append(Table(shown, [*columns, *(more if kind == "head" else [])], title))
        return [*found, self._values(), self._by_attribute(), *([self._summary()] if "heads" in self.summary else [])]

    def _values(self) -> Table:
        rows = pd.DataFrame(self.summary["values"])
        columns = (
            Column("kind", "units", kind="id", form=lambda kind: f"{kind}s"),
            Column("units", "how many", form=","),
            Column("proven", form=_percent),
            Column("shown", form=_percent),
            Column("both_ends", "both ends", form=_percent),
            Column("chance", form=_percent),
            Column("not_proven", "not proven", form=_percent),
            Column("shuffled", form=_tenths),
        )
        caption = (
            "shown: of the 20 fresh scenes furthest along the first proven end of a unit, those that show the value\n"
            "both ends: the same over directions proven at both; not proven: ends whose words are shown as unproven\n"
            "shuffled: units proven although the images were shuffled"
        )
        return Table(rows, columns, "Are the words true of the images?", caption)

    def _by_attribute(self) -> Table:
        columns = (
            Column("kind", "units", kind="id", form=lambda kind: f"{kind}s"),
            Column("attribute", "words name a", kind="id"),
            Column("units", "proven"),
            Column("shown", form=_percent),
            Column("chance", form=_percent),
        )
        names = [column.name for column in columns]
        return Table(pd.DataFrame(self.summary["attributes"], columns=names), columns, "By attribute")

    def _summary(self) -> Table:
        found = self.summary
        of = f"{found['dominant']} of {found['heads']}"
        agree = f"{round(found['agreement'] * found['dominant'])}" if found["dominant"] else "0"
        alike = round(found["agreement_all_heads"] * found["heads"])
        largest = round(found["agreement_attribute_all_heads"] * found["heads"])
        measures = [
            (f"heads with a dominant attribute (≥ {self.options.dominant:.0%} of the variance)", of),
            ("of these, label names the dominant attribute", f"{agree} ({found['agreement']:.0%})"),
            ("of these, the attribute that the label is of is the dominant one", f"{found['agreement_attribute']:.0%}"),
            ("the first text that spans it names it", f"{found['agreement_first_text']:.0%}"),
            ("random texts from the pool name it", f"{found['agreement_random_texts']:.0%}"),
            ("label is the attribute whose change moves the head most", f"{found['agreement_causal']:.0%}"),
            (f"of all {found['heads']} heads, label names the attribute with the largest share", str(alike)),
            ("of these, the attribute that the label is of has the largest share", str(largest)),
        ]
        measures += [
            (f"changing {attribute}: movement of heads labelled so over that of the others", f"{factor:.1f} ×")
            for attribute, factor in found["lift"].items()
        ]
        rows = pd.DataFrame(measures, columns=["measure", "value"])
        return Table(rows, (Column("measure", kind="words"), Column("value", str(self.model), kind="number")))


_SHOWN = 12  # units of a kind of which there are many


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _tenths(share: float) -> str:
    return f"{100 * share:.1f} %"
