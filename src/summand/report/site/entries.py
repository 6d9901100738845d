"""The units that have pages: what the table of labels says of each, as pages and the search put it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...survey import Group, Survey
from ...survey.unit_words import Words, words_of_row
from ...unit import SINGULAR, Unit

_FOLDERS = {"heads": "heads", "neurons": "neurons", "pairs": "pairs", "latents": "latents"}


@dataclass(frozen=True)
class Entry:
    """A unit with a page. texts: (text, weight) that span or sum it up; explained: of heads, the cumulative share of
    the variance; variance: what r_n carries of its strongest effects."""

    unit: Unit
    words: Words
    texts: tuple[tuple[str, float], ...]
    explained: tuple[float, ...]
    importance: float
    variance: float
    score: dict[str, float | None] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        return self.unit.name

    @property
    def kind(self) -> str:
        return self.unit.kind

    @property
    def group(self) -> Group:
        return self.unit.group

    @property
    def page(self) -> str:
        """The address below the site's folder; it is the same in every atlas of the model."""
        return f"{_FOLDERS[self.group.kind]}/{self.name.replace(':', '-').replace('#', '-')}.html"

    @property
    def title(self) -> str:
        """What people call it."""
        if self.kind == "head":
            return f"Layer {self.unit.index[0]}, head {self.unit.index[1]}"
        if self.kind == "pair":
            return f"Neuron {self.unit.index[0]} through head {self.unit.index[1]}"
        return f"Layer {self.unit.layer}, {self.kind} {self.unit.index[0]}"

    @property
    def label(self) -> str:
        """Its words as they are shown; a share stays beside its sign."""
        return self.words.text.replace(" %", "\u00a0%")

    @cached_property
    def badge(self) -> Badge:
        return Badge.of(self.words)

    @property
    def rank(self) -> tuple[int, float, float]:
        """Best evidence first, then the most important."""
        order = {"proven": 0, "not proven": 1, "cannot be tested": 2}[self.words.verdict]
        return order, -(self.badge.score or 0.0), -self.importance


@dataclass(frozen=True)
class Badge:
    """What the words are worth, in one small mark. score: how well the unit's ranking of held-out images tells those
    that show the words from the others (AUC); said: the same for a newcomer; in_part: of a smaller part alone."""

    verdict: str
    score: float | None
    said: str
    in_part: bool = False

    @staticmethod
    def of(words: Words) -> Badge:
        first = words.first
        if words.verdict == "proven" and first is not None:
            said = (
                f"Proven on images kept aside: of those furthest along, {_percent(first.shown)} show “{first.text}” "
                f"({_percent(first.chance)} of all images do). {_score(first.agreement)} is how well its ranking "
                "tells such images from the others (1 is perfect, 0.5 is chance)."
            )
            if words.in_part:
                said += f" They are of a smaller part of it: {words.mostly} of its variance has no proven words."
            return Badge("proven", first.agreement, said, words.in_part)
        if words.verdict == "cannot be tested":
            return Badge(words.verdict, None, "Not tested: too few images were kept aside, or too few show the words.")
        return Badge("not proven", None, "Not proven: images kept aside do not show these words clearly enough.")

    @property
    def text(self) -> str:
        part = " in part" if self.in_part else ""
        return f"✓ {_score(self.score)}{part}" if self.verdict == "proven" else self.short

    @property
    def short(self) -> str:
        return {"not proven": "unproven", "cannot be tested": "untested"}.get(self.verdict, "✓")


def entries_of(survey: Survey, layers: Sequence[int], most: int) -> tuple[list[Entry], dict[str, int]]:
    """The units with pages, group after group in their own order; and how many of a group are left out, since only the
    `most` important ones of each group of neurons, pairs or latents have a page. layers: of heads."""
    rows: list[dict[str, Any]] = survey.labels.to_dict("records")  # type: ignore[assignment]
    left: dict[str, int] = {}
    found: list[Entry] = []
    for group in survey.groups:
        own = [row for row in rows if row["kind"] == SINGULAR[group.kind]]
        if group.kind == "heads":
            own = [row for row in own if row["layer"] in layers]
        elif group.layer is not None:
            own = [row for row in own if row["layer"] == group.layer]
        if group.kind != "heads":
            least = sorted((row["importance"] for row in own), reverse=True)[:most][-1:]
            own = [row for row in own if row["importance"] >= least[0]][:most] if least else own
            left[group.name] = math.prod(survey.shape(group)) - len(own)
        found += [_entry(row) for row in own]
    return found, left


def _entry(row: dict[Any, Any]) -> Entry:
    texts, weights = row["texts"], row["weights"]
    explained = row["explained"]
    return Entry(
        Unit.parse(row["unit"], row["kind"]),
        words_of_row(row),
        tuple((str(text), float(weight)) for text, weight in zip(texts, weights, strict=True)),
        () if explained is None else tuple(float(share) for share in explained),
        float(row["importance"]),
        float(row["variance"]),
        {name: _number(row.get(name)) for name in ("correlation", "random_limit", "cosine", "named")},
    )


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
