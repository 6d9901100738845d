"""The words of a unit as a survey keeps them: what the ends of its directions are called, what that is worth, and the
directions themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError, first_line
from ..text.poles import Verdict
from . import store
from .shelf import DIRECTIONS
from .survey import Survey
from .units import Group

NO_WORDS = "(no proven words)"
"""Behind what a unit is of, where its words are of a smaller part."""


@dataclass(frozen=True)
class End:
    """One end of a direction, as the table of labels holds it: `text.poles.Pole` with its words as texts.

    thing: which direction of the unit, from 0. share: of the unit's whole variance that the direction carries; None
    of units with one direction. kind: the property that its first word is of.
    """

    thing: int
    share: float | None
    sign: int
    words: list[str]
    each: list[float]
    shown: float | None
    chance: float | None
    limit: float | None
    p: float | None
    agreement: float | None
    silent: bool
    verdict: Verdict
    kind: str | None = None

    @property
    def proven(self) -> bool:
        return self.verdict == "proven"

    @property
    def text(self) -> str:
        return " / ".join(self.words)


@dataclass(frozen=True)
class Words:
    """What a unit is called. ends: of each of its directions both, + first. kind: the property that it is of
    (`survey.words.attribute`): that of its proven words, or a property that explains much more of it. shares: of heads,
    what each property explains of it, largest first (`shares_of_kinds`). shown_as: `text`, where it is known already.
    """

    ends: tuple[End, ...]
    kind: str | None = None
    shares: tuple[tuple[str, float], ...] = ()
    shown_as: str | None = None

    @property
    def first(self) -> End | None:
        """The first proven end; where there is none, the first that was given words."""
        spoken = [end for end in self.ends if end.words]
        return next((end for end in spoken if end.proven), spoken[0] if spoken else None)

    @property
    def worded(self) -> str | None:
        """The property that its proven words are of, of several the one that explains most of it: that of a smaller
        part of the unit, where it is not `kind`."""
        return worded_kind([end.kind for end in self.ends if end.proven], dict(self.shares))

    @property
    def in_part(self) -> bool:
        """Whether its words are of a smaller part of the unit alone: none of the proven ones is of its property, or,
        where none is proven, the first one is not."""
        if self.kind is None or self.first is None:
            return False
        shown = [end for end in self.ends if end.proven] or [self.first]
        return all(end.kind not in (None, self.kind) for end in shown)

    @property
    def whole(self) -> bool:
        """Whether words are proven, and not of a smaller part of the unit alone."""
        return self.verdict == "proven" and not self.in_part

    @property
    def mostly(self) -> str:
        """ "count 50 %": the property that it is of, and what that explains of it."""
        share = dict(self.shares).get(str(self.kind))
        return f"{self.kind}" if share is None else f"{self.kind} {100 * share:.0f} %"

    @property
    def short(self) -> str:
        """The first direction alone, without its share, for a small place; what the unit is of where its words are of
        a smaller part."""
        first = self.first
        if self.in_part:
            return f"{self.kind} {NO_WORDS}"
        if first is None or not first.proven:
            return self.text
        return " ↔ ".join(end.text for end in self.ends if end.proven and end.thing == first.thing)

    @property
    def proven(self) -> list[str]:
        """The first word of every proven end."""
        return [end.words[0] for end in self.ends if end.proven]

    @property
    def spoken(self) -> list[str]:
        """All words of its proven ends."""
        return list(dict.fromkeys(word for end in self.ends if end.proven for word in end.words))

    @property
    def verdict(self) -> Verdict:
        found = {end.verdict for end in self.ends}
        tested = [end.verdict for end in self.ends if end.words]
        if "proven" in found:
            return "proven"
        untestable = (tested and set(tested) == {"cannot be tested"}) or found == {"cannot be tested"} or not found
        return "cannot be tested" if untestable else "not proven"

    @property
    def named(self) -> float | None:
        """The share of a head's variance along directions with a proven end."""
        shares = {end.thing: end.share for end in self.ends if end.proven}
        known = [share for share in shares.values() if share is not None]
        return float(sum(known)) if any(end.share is not None for end in self.ends) else None

    @property
    def clusters(self) -> int:
        """Clusters that the images of its first proven end fall into, a word each; 0 where no words are proven."""
        return next((len(end.words) for end in self.ends if end.proven), 0)

    @property
    def text(self) -> str:
        """What to show. "six objects ↔ one object 62 %": the images at each end of a direction, and the share of the
        head's variance along it; "a circle / a ring": some of these images, some of those; "·" between directions.
        Directions that are called the same are one thing here, with the sum of their shares. What a unit is of comes
        first where its words are of a smaller part: "count 50 % (no proven words) · a sunset 9 %"."""
        if self.shown_as is not None:
            return self.shown_as
        said: dict[str, list[float]] = {}
        for thing in dict.fromkeys(end.thing for end in self.ends if end.proven):
            ends = [end for end in self.ends if end.thing == thing and end.proven]
            shares = said.setdefault(" ↔ ".join(end.text for end in ends), [])
            shares.extend(end.share for end in ends[:1] if end.share is not None)
        parts = [f"{text} {100 * sum(own):.0f} %" if own else text for text, own in said.items()]
        first = next((end for end in self.ends if end.words), None)
        if not parts:
            parts = [f"({self.verdict})" if first is None else f"{first.text} ({self.verdict})"]
        return " · ".join([f"{self.mostly} {NO_WORDS}", *parts] if self.in_part else parts)

    @staticmethod
    def of(
        rows: Sequence[Mapping[str, Any]] | None,
        kind: str | None = None,
        shares: tuple[tuple[str, float], ...] = (),
        shown_as: str | None = None,
    ) -> Words:
        """From the column `poles` of the table of labels."""
        known = (
            [] if rows is None else [{**row, "words": list(row["words"]), "each": list(row["each"])} for row in rows]
        )
        return Words(tuple(End(**row) for row in known), kind, shares, shown_as)

    def rows(self) -> list[dict[str, Any]]:
        return [dict(vars(end)) for end in self.ends]


def worded_kind(named: Sequence[str | None], shares: Mapping[str, float]) -> str | None:
    """Of the kinds of proven words the one that explains most of a unit, the first of equals."""
    kinds = dict.fromkeys(kind for kind in named if kind is not None)
    return max(kinds, key=lambda kind: shares.get(kind, 0.0), default=None)


def words_of_row(row: Mapping[str, Any] | pd.Series) -> Words:
    """The words of a unit from its row of the table of labels."""
    properties: Any = row["properties"]
    shares = tuple((str(item["property"]), float(item["share"])) for item in properties)
    ends: Any = row["poles"]
    kind = row["attribute"]
    return Words.of(ends, kind if isinstance(kind, str) else None, shares, str(row["label"]))


def heads_in_words(survey: Survey | None) -> dict[tuple[int, int], Words]:
    """(layer, head) → what its label says, of a survey whose heads are labelled; else nothing."""
    table = survey.labels if survey is not None and survey.labelled else pd.DataFrame({"kind": []})
    if "poles" not in table:  # labels of an older folder are spans alone
        return {}
    try:
        rows: list[dict[str, Any]] = table[table["kind"] == "head"].to_dict("records")  # type: ignore[assignment]
        return {(row["layer"], row["head"]): words_of_row(row) for row in rows}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        where = "" if survey is None else survey.shelf.label
        raise SummandError(
            f"the labels of {where} are broken ({first_line(error)}); `summand label` makes them again"
        ) from error


def keep_directions(survey: Survey, group: Group, directions: Float[Tensor, "unit thing embed"]) -> None:
    """The directions that heads' labels are along, beside the labels."""
    array = directions.float().reshape(*survey.shape(group), *directions.shape[1:]).numpy()
    survey.shelf.put(DIRECTIONS, xr.Dataset({"direction": (("layer", "head", "thing", "embed"), array)}))


def directions_of(survey: Survey, group: Group) -> Float[Tensor, "*unit thing embed"]:
    """The directions that the labels of a group are along: of heads as they were kept (0 where there are fewer), of
    other units r_n."""
    if group.kind == "heads" and survey.shelf.has(DIRECTIONS):
        return store.tensor(survey.shelf.dataset(DIRECTIONS)["direction"]).double()
    return survey.rank_one(group).directions[..., None, :]
