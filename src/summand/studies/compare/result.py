"""What changed from one model to another, as a result."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ...data import ImageSource
from ..columns import Column, Table
from ..result import Result

NOTHING = "nothing changed that other images would not change of one and the same model"
_MOST = 4  # changes of a verdict


class Compared(Result):
    """rows: a change each, named ones first: how (share, tie, read), what (a property, or two), before, after, size (in
    which they are ordered), z and named, through (the units that vary more or less along it), swap (of what is read
    otherwise, the commonest: as what before and after). words: every word's share before and after. units: a unit each,
    the one that changed most first. images: those that moved most, and through which terms. verdict: in a sentence."""

    command: ClassVar[str] = "compare"
    drawn_by: str | None = "summand.report.compare:figure"
    limit: float
    matching: str
    words: list[dict[str, Any]]
    units: list[dict[str, Any]]
    images: list[dict[str, Any]]

    def __init__(self, rows: Any, options: Any, *, source: ImageSource, **more: Any) -> None:
        super().__init__(rows, options, **more)
        self.source = source
        self.more["verdict"] = "; ".join(said(row) for row in self.named[:_MOST]) or NOTHING

    @property
    def named(self) -> list[dict[str, Any]]:
        """The changes that are more than images."""
        return [row for row in self.rows.to_dict("records") if row["named"]]

    def tables(self) -> list[Table]:
        found = [self._changes()]
        if self.named:
            found += [self._words(), self._units(), self._images()]
        return found

    def _changes(self) -> Table:
        top = self.options.top
        rows = self.rows[self.rows["named"]].head(top)
        said_of = [_what(how, what) for how, what in zip(rows["how"], rows["what"], strict=True)]
        rows = rows.assign(through=[", ".join(each) for each in rows["through"]], what=said_of)
        columns = (
            Column("what", "what changed", kind="words"),
            Column("before", form=".2f"),
            Column("after", form=".2f"),
            Column("z", form="+.0f"),
            Column("through", "most in", kind="words"),
        )
        more = len(self.named) - len(rows)
        caption = (
            f"{self.more['verdict']}.\nz: standard errors of {self.more['seen']:,} images; one is named above "
            f"{self.limit:.1f}, which 19 of 20 pairs of draws of images stay under for one and the same model"
            + (f"; {more} more" if more else "")
        )
        return Table(rows, columns if len(rows) else (), f"{self.model}: what changed", caption)

    def _words(self) -> Table:
        columns = (
            Column("word", kind="words"),
            Column("before", form=_percent),
            Column("after", form=_percent),
            Column("change", "lost │ gained", kind="bar"),
        )
        return Table(pd.DataFrame(self.words[: self.options.top]), columns, "words: their share in what is read")

    def _units(self) -> Table:
        sure = [row for row in self.units if row["sure"]]
        rows = [{**row, "said": _label(row), "unit": _name(row)} for row in sure[: self.options.top]]
        columns = (
            Column("unit", kind="id"),
            Column("before", form=_percent),
            Column("after", form=_percent),
            Column("correlation", "goes with", form=".2f"),
            Column("cosine", form=".2f"),
            Column("said", "its words", kind="words"),
        )
        by = "by name" if self.matching == "index" else "by the likeness of their effects"
        caption = (
            f"{len(sure):,} of {len(self.units):,} units, matched {by}. before, after: of the variance of all units "
            f"along the texts; goes with: correlation of their effects on the same images; cosine: of their directions "
            f"along the texts"
        )
        return Table(pd.DataFrame(rows), columns if rows else (), "units that changed most", caption)

    def _images(self) -> Table:
        rows = [
            {**row, "said": _through(row["through"], row["adds"]), "now": f"{row['lost']} → {row['gained']}"}
            for row in self.images
        ]
        columns = (
            Column("image", kind="words"),
            Column("moved", form=".2f"),
            Column("now", "from → to", kind="words"),
            Column("said", "through", kind="words"),
        )
        return Table(pd.DataFrame(rows), columns, "images that moved most")


def said(row: dict[str, Any]) -> str:
    """A change as part of a sentence."""
    name, before, after = row["what"], row["before"], row["after"]
    where = f", most in {row['through'][0]}" if row["through"] else ""
    if row["how"] == "read":
        swap = f", mostly {row['swap'][0]} as {row['swap'][1]}" if row["swap"] else ""
        return f"{name} is read otherwise in {100 * after:.0f} % of the images{swap}{where}"
    if row["how"] == "tie":
        tied = "are tied" if after > before else "are less tied"
        return f"{name.replace('–', ' and ')} {tied} ({before:.2f} → {after:.2f}){where}"
    gained = "gained" if after > before else "lost"
    return f"{name} {gained} share ({100 * before:.1f} → {100 * after:.1f} %){where}"


def _what(how: str, what: str) -> str:
    if how == "read":
        return f"{what} is read otherwise"
    return f"share of {what}" if how == "share" else f"tie of {what}"


def _through(names: list[str], adds: list[float]) -> str:
    return ", ".join(f"{name} {100 * add:.0f} %".replace("-", "−") for name, add in zip(names, adds, strict=True))


def _name(row: dict[str, Any]) -> str:
    return row["unit"] if row["unit"] == row["other"] else f"{row['unit']} → {row['other']}"


def _label(row: dict[str, Any]) -> str:
    was, now = f"{row['was']} ({row['property']})", f"{row['is']} ({row['now']})"
    return was if was == now else f"{was} → {now}"


def _percent(value: Any) -> str:
    return f"{100 * value:.1f} %"
