"""A survey, its labels and one of its units, as results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..columns import Column, Table
from ..result import Result

_SHOWN = 12  # units of each kind on screen


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def decimal(value: Any) -> str:
    return "" if value is None or value != value else f"{value:.2f}".replace("-", "−")


def worded(texts: Sequence[str], weights: Sequence[float]) -> list[str]:
    """Texts with a minus where the unit speaks against them."""
    return [text if weight >= 0 else f"−{text}" for text, weight in zip(texts, weights, strict=True)]


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
        caption = (
            f"{more['images']:,} images{skipped}, {more['held_out_images']:,} of them held out, in "
            f"{more['seconds']:.0f} s; the parts add up to the whole to {more['residual']:.0e}\n"
            f"in one direction: share of the top images' variance that the first principal direction carries (median)\n"
            f"{Path(self.run).resolve()}  next: summand label {self.run}"
        )
        return [Table(self.rows, columns, caption=caption)]

    def save(self, place: str | Path) -> dict[str, Path]:
        """It stands in its folder already."""
        return {"survey": Path(self.run)}


class Labelled(Result):
    """rows: a unit each, as docs/runs.md lists them. files: what was written beside the survey."""

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
        return found

    def _table(self, shown: pd.DataFrame, some: pd.DataFrame, kind: str) -> Table:
        of = len(some)
        rows = shown.assign(
            said=[" · ".join(worded(texts, weights)[:3]) for texts, weights in zip(shown["texts"], shown["weights"],
                                                                                  strict=True)],
            scored=[decimal(value) + _MARKS[_truth(evidence)]
                    for value, evidence in zip(shown["correlation"], shown["evidence"], strict=True)],
        )  # fmt: skip
        known = bool(shown["attribute"].notna().any())
        columns = [
            Column("unit", kind, kind="id"),
            Column("importance", form=percent),
            *([Column("attribute", "sees", kind="id")] if known else []),
            Column("said", "texts", kind="words"),
            Column("scored", "held out"),
            Column("random_correlation", "random", form=decimal),
        ]
        title = f"{kind}s, the most telling {len(shown)} of {of:,}" if len(shown) < of else f"all {of:,} {kind}s"
        return Table(rows, columns, title, _verdict(some, kind))


_MARKS = {None: "", True: " ✓", False: " –"}


def _truth(value: Any) -> bool | None:
    return None if value is None or pd.isna(value) else bool(value)


def _sortable(column: Any) -> Any:
    return column.astype("boolean").fillna(False).astype(int) if column.name == "evidence" else column


def _verdict(rows: pd.DataFrame, kind: str) -> str:
    scored = rows[rows["evidence"].notna()]
    if not len(scored):
        return "too few images were held out to score the descriptions (held_out)"
    good = sum(map(bool, scored["evidence"]))
    return (
        f"held out: correlation of the description with the {kind} on images kept aside; ✓ for the {good:,} "
        f"of {len(scored):,} that are better than 95 % of random descriptions"
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
        shares = label["explained"] if view.kind == "head" and label["explained"] else [None] * len(label["texts"])
        rows = pd.DataFrame({"weight": label["weights"], "text": label["texts"], "explained": shares})
        columns = [Column("weight", form="+.2f"), Column("text", kind="words")]
        if view.kind == "head":
            columns.append(Column("explained", "variance so far", form=lambda share: f"{100 * share:.0f} %"))
        return [Table(rows, columns, title, "\n".join([*_evidence(label), below]))]

    def _below(self) -> str:
        if self.view.kind == "pair":
            return "a pair writes along exactly one direction"
        return f"its direction carries {100 * self.found['variance']:.0f} % of its strongest effects"


def _evidence(label: dict[str, Any]) -> list[str]:
    if label["evidence"] is None:
        first = ["not scored: too few images were held out, or the unit is the same on all of them"]
    else:
        verdict = "evidence" if label["evidence"] else "without evidence"
        first = [
            f"{verdict} on held-out images: correlation {decimal(label['correlation'])}, AUC of the strongest 2 % "
            f"{decimal(label['auc'])}",
            f"random descriptions: correlation {decimal(label['random_correlation'])} (95th percentile "
            f"{decimal(label['random_limit'])}), AUC {decimal(label['random_auc'])}; its own direction: "
            f"{decimal(label['own_correlation'])}",
        ]
    fit = f"the words fit its direction to cosine {decimal(label['cosine'])}"
    return [*first, f"{fit}; importance {percent(label['importance'])}"]
