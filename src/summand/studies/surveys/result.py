"""A survey, its labels and one of its units, as results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...survey.unit_words import NO_WORDS
from ..columns import Column, Table
from ..result import Result

_SHOWN = 12  # units of each kind on screen


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def decimal(value: Any) -> str:
    return "" if value is None or value != value else f"{value:.2f}".replace("-", "−")


class Surveyed(Result):
    """rows: units (a group), count, paths (of each unit), images, first_direction (the share of the top images'
    variance that the first principal direction carries, median of the units), megabytes."""

    command: ClassVar[str] = "survey"
    run: str

    def tables(self) -> list[Table]:
        def named(name: str) -> str:
            layer = name.partition(".")[2]
            return f"neurons of layer {layer}" if layer else name

        columns = (
            Column("units", kind="id", form=named),
            Column("count", "how many", form=","),
            Column("paths", "paths each"),
            Column("first_direction", "in one direction", form=lambda share: f"{100 * share:.0f} %"),
            Column("megabytes", "on disk", form=lambda size: f"{size:.1f} MB"),
        )
        more = self.more
        skipped = f", {len(more['skipped'])} skipped" if more["skipped"] else ""
        said = f"{more['along_texts']['said']}\n" if more["along_texts"] else ""
        caption = (
            f"{more['images']:,} images{skipped}, {more['held_out_images']:,} of them held out, in "
            f"{more['seconds']:.0f} s; the parts add up to the whole to {more['residual']:.0e}\n"
            f"in one direction: share of the top images' variance that the first principal direction carries (median)\n"
            f"{said}{Path(self.run).resolve()}  next: summand label {self.run}"
        )
        return [Table(self.rows, columns, caption=caption)]

    def save(self, place: str | Path) -> dict[str, Path]:
        """It stands in its folder already."""
        return {"survey": Path(self.run)}


class Labelled(Result):
    """rows: a unit each, as docs/runs.md lists them. files: what was written beside the survey. along_texts: how much
    of the representation heads, MLPs and the input write along the texts, or None where no images were held out."""

    command: ClassVar[str] = "label"
    files: list[str]

    def tables(self) -> list[Table]:
        found = []
        for kind in dict.fromkeys(self.rows["kind"]):
            some = pd.DataFrame(self.rows[self.rows["kind"] == kind]).sort_values(
                ["evidence", "importance"], ascending=False, kind="stable", key=_sortable
            )
            shown = some if self.options.all else some.head(_SHOWN)
            found.append(self._table(shown, some, kind))
        if found and self.more["along_texts"]:
            found[0] = replace(found[0], caption=f"{found[0].caption}\n{self.more['along_texts']['said']}")
        return found

    def _table(self, shown: pd.DataFrame, some: pd.DataFrame, kind: str) -> Table:
        of = len(some)
        known = bool(shown["attribute"].notna().any())
        columns = [
            Column("unit", kind, kind="id"),
            Column("importance", form=percent),
            *([Column("attribute", "sees", kind="id")] if known else []),
            Column("label", "words", kind="words"),
            Column("shown", form=_whole),
            Column("chance", form=_whole),
            Column("agreement", form=decimal),
        ]
        title = f"{kind}s, the most telling {len(shown)} of {of:,}" if len(shown) < of else f"all {of:,} {kind}s"
        return Table(shown, columns, title, _verdict(some, kind))


def _whole(share: Any) -> str:
    return "" if share is None or share != share else f"{100 * share:.0f} %"


def _sortable(column: Any) -> Any:
    return column.astype("boolean").fillna(False).astype(int) if column.name == "evidence" else column


def _verdict(rows: pd.DataFrame, kind: str) -> str:
    count = rows["verdict"].value_counts()
    if count.get("cannot be tested", 0) == len(rows):
        return "cannot be tested: too few images were held out (held_out)"
    several = sum(number > 1 for number in rows["clusters"])
    part = rows["label"].str.contains(NO_WORDS, regex=False).any()
    untested = count.get("cannot be tested", 0)
    more = f", {untested:,} cannot be tested" if untested else ""
    return (
        f"{count.get('proven', 0):,} of {len(rows):,} {kind}s are proven{more}: of the images furthest along the "
        f"{kind}, kept aside and not used to choose the words, so many show them (shown) as the model reads them\n"
        f"↔ the two ends of a direction · another direction"
        + (f"; / one end of several things ({several:,} {kind}s)" if several else "")
        + (
            f"\n{NO_WORDS}: so much of the {kind} is of that, and the words beside it are of a smaller part"
            if part
            else ""
        )
    )


class UnitShown(Result):
    """rows: one, of unit, variance (the share of its strongest effects that its direction carries), label (its row of
    the labels, or None) and images (number, name and x, in standard deviations). view: the unit itself."""

    command: ClassVar[str] = "unit"

    def __init__(self, view: Any, found: dict[str, Any], options: Any, notes: Sequence[str], drawable: bool) -> None:
        made = view.survey.manifest
        super().__init__([found], options, model=made.model, data=made.source, notes=notes)
        self.view, self.found, self._drawable = view, found, drawable
        self.drawn_by = __name__ if drawable else None
        self.drawn_in = f"{found['unit'].replace(' ', '-').replace(':', '.')}.png"

    def figure(self) -> Any:
        """Its words, and the pictures of its top images."""
        return self.view.show(self.options.top) if self._drawable else None

    def save(self, place: str | Path) -> dict[str, Path]:
        return super().save(place) if self._drawable or not Path(place).suffix else {}

    def tables(self) -> list[Table]:
        view, label = self.view, self.found["label"]
        count = view.survey.dataset(view.group).attrs["count"]
        title = f"{self.found['unit']} of {self.model}, {count:,} images"
        below = self._below()
        if label is None:
            return [Table(pd.DataFrame(), (), title, f"no words yet: summand label {view.survey.path}\n{below}")]
        columns = (
            Column("end", kind="id"),
            Column("words", kind="words"),
            Column("shown", form=_whole),
            Column("chance", form=_whole),
            Column("agreement", form=decimal),
            Column("verdict", kind="id"),
        )
        rows = pd.DataFrame([_row(end) for end in view.called.ends], columns=[column.name for column in columns])
        said = f"{title}\n{label['label']}"
        return [Table(rows, columns, said, _evidence(label)), self._texts(label)]

    def _texts(self, label: dict[str, Any]) -> Table:
        view = self.view
        shares = label["explained"] if view.kind == "head" and label["explained"] else [None] * len(label["texts"])
        rows = pd.DataFrame({"weight": label["weights"], "text": label["texts"], "explained": shares})
        columns = [
            Column("weight", form="+.2f"),
            Column("text", "spans" if view.kind == "head" else "text", kind="words"),
        ]
        if view.kind == "head":
            columns.append(Column("explained", "variance so far", form=lambda share: f"{100 * share:.0f} %"))
        return Table(rows, columns, caption="\n".join([*_fit(label), self._below()]))

    def _below(self) -> str:
        if self.view.kind == "pair":
            return "a pair writes along exactly one direction"
        return f"its direction carries {100 * self.found['variance']:.0f} % of its strongest effects"


def _row(end: Any) -> dict[str, Any]:
    share = "" if end.share is None else f" {100 * end.share:.0f} %"
    name = f"{'+' if end.sign > 0 else '−'}{share}"
    words = end.text or ("silent: its images lie hardly apart" if end.silent else "no words cover its images")
    verdict = end.verdict if end.words else ""
    return {"end": name, "words": words, "shown": end.shown, "chance": end.chance, "agreement": end.agreement,
            "verdict": verdict}  # fmt: skip


def _evidence(label: dict[str, Any]) -> str:
    if label["verdict"] == "cannot be tested":
        return "cannot be tested: too few images were held out, or the unit is the same on all of them"
    named = "" if label["named"] is None else f"; named {100 * label['named']:.0f} % of its variance"
    several = f"; an end of {label['clusters']} things" if label["clusters"] > 1 else ""
    return (
        f"{label['verdict']}: shown is the share of the furthest held-out images that show the words, as the model "
        f"reads them; agreement: how well its ranking tells such images from the others (AUC){named}{several}"
    )


def _fit(label: dict[str, Any]) -> list[str]:
    fit = f"the texts fit its direction to cosine {decimal(label['cosine'])}; importance {percent(label['importance'])}"
    if label["correlation"] is None:
        return [fit]
    return [
        f"{fit}; held-out correlation {decimal(label['correlation'])}, AUC of the strongest 2 % "
        f"{decimal(label['auc'])}",
        f"random texts: correlation {decimal(label['random_correlation'])} (95th percentile "
        f"{decimal(label['random_limit'])}), AUC {decimal(label['random_auc'])}; its own direction: "
        f"{decimal(label['own_correlation'])}",
    ]
