"""The words for units: what both ends of their directions show, and whether that is proven. All that Summand shows as a
unit's meaning is made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from ..text.components import components
from ..text.kinds import Values
from ..text.poles import Pole, Signals, Verdict, poles
from .shelf import DIRECTIONS
from .survey import Survey
from .units import Group

MOST_THINGS = 3
"""Directions of a head that are named at most."""


@dataclass(frozen=True)
class End:
    """One end of a direction, as the table of labels holds it: `text.poles.Pole` with its words as texts.

    thing: which direction of the unit, from 0. share: of the unit's whole variance that the direction carries; None
    of units with one direction.
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

    @property
    def proven(self) -> bool:
        return self.verdict == "proven"

    @property
    def text(self) -> str:
        return " / ".join(self.words)


@dataclass(frozen=True)
class Words:
    """What a unit is called. ends: of each of its directions both, + first. kind: the property that its proven words are
    of, each direction counted by its share."""

    ends: tuple[End, ...]
    kind: str | None = None

    @property
    def proven(self) -> list[str]:
        """The first word of every proven end."""
        return [end.words[0] for end in self.ends if end.proven]

    @property
    def verdict(self) -> Verdict:
        found = {end.verdict for end in self.ends}
        tested = [end.verdict for end in self.ends if end.words]
        if "proven" in found:
            return "proven"
        untestable = tested and set(tested) == {"cannot be tested"} or found == {"cannot be tested"} or not found
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
        head's variance along it; "a circle / a ring": some of these images and some of those; "·" between directions."""
        things = dict.fromkeys(end.thing for end in self.ends)
        said = [self._thing([end for end in self.ends if end.thing == thing and end.proven]) for thing in things]
        proven = [text for text in said if text]
        if proven:
            return " · ".join(proven)
        first = next((end for end in self.ends if end.words), None)
        return f"({self.verdict})" if first is None else f"{first.text} ({first.verdict})"

    @staticmethod
    def _thing(ends: Sequence[End]) -> str:
        if not ends:
            return ""
        share = "" if ends[0].share is None else f" {100 * ends[0].share:.0f} %"
        return " ↔ ".join(end.text for end in ends) + share

    @staticmethod
    def of(rows: Sequence[dict[str, Any]] | None, kind: str | None = None) -> Words:
        """From the column `poles` of the table of labels."""
        known = [] if rows is None else [{**row, "words": list(row["words"]), "each": list(row["each"])} for row in rows]
        return Words(tuple(End(**row) for row in known), kind)

    def rows(self) -> list[dict[str, Any]]:
        return [asdict(end) for end in self.ends]


@dataclass(frozen=True)
class Readings:
    """Which values the images kept aside show, in their two halves."""

    values: Values
    choice: Bool[Tensor, "image value"]
    final: Bool[Tensor, "image value"]

    @staticmethod
    def of(survey: Survey, values: Values) -> Readings:
        held = torch.tensor(survey.images["held_out"].to_numpy(), dtype=torch.bool)
        embeddings = survey.embeddings.double()
        shown = values.shown(embeddings[held], embeddings[~held])
        return Readings(values, *halves(shown))


def halves(images: Tensor) -> tuple[Tensor, Tensor]:
    """The held-out images that words are chosen on, and those that score them: every second one."""
    return images[0::2], images[1::2]


def words_of_units(
    survey: Survey, group: Group, readings: Readings, units: Sequence[tuple[int, ...]], size: int
) -> tuple[list[Words], Float[Tensor, "unit thing embed"] | None]:
    """The words of these units, and of heads the directions that they are along (rows of 0 where there are fewer)."""
    shape = survey.shape(group)
    places = [int(np.ravel_multi_index(unit, shape)) for unit in units]
    if group.kind == "heads" and (coefficients := survey.held_out_coefficients(group)) is not None:
        return _heads(survey, group, readings, places, coefficients.flatten(1, -2), size)
    signal = survey.held_out(group).flatten(1)[:, places]
    found = _poles(signal, readings, range(len(places)), size)
    return [_words([pair], [None], readings.values) for pair in found], None


def _heads(
    survey: Survey, group: Group, readings: Readings, places: Sequence[int], coefficients: Tensor, size: int
) -> tuple[list[Words], Tensor]:
    found = components(survey.moments(group), readings.values.embeddings)
    owner = [row for row, place in enumerate(places) for _ in found[place].share]
    signal = torch.cat([coefficients[:, place].double() @ found[place].reading.T for place in places], dim=1)
    pairs = _poles(signal, readings, owner, size)
    directions = torch.zeros(len(places), MOST_THINGS, readings.values.embeddings.shape[1], dtype=torch.float64)
    words, start = [], 0
    for row, place in enumerate(places):
        own = found[place]
        mine = pairs[start : start + len(own.share)]
        start += len(mine)
        kept = [k for k, pair in enumerate(mine) if pair[0].words or pair[1].words] or list(range(len(mine)))[:1]
        directions[row, : len(kept)] = own.directions[kept]
        words.append(_words([mine[k] for k in kept], [float(own.share[k]) for k in kept], readings.values))
    return words, directions


def _poles(signal: Tensor, readings: Readings, owner: Sequence[int], size: int) -> list[tuple[Pole, Pole]]:
    return poles(Signals(*halves(signal), readings.choice, readings.final), owner, size, MOST_THINGS)


def _words(pairs: Sequence[tuple[Pole, Pole]], shares: Sequence[float | None], values: Values) -> Words:
    ends, votes = [], Counter()
    for thing, (pair, share) in enumerate(zip(pairs, shares, strict=True)):
        for pole in pair:
            numbers = {name: _number(getattr(pole, name)) for name in ("shown", "chance", "limit", "p", "agreement")}
            words = [values.texts[word] for word in pole.words]
            more = {"sign": pole.sign, "each": list(pole.each), "silent": pole.silent, "verdict": pole.verdict}
            ends.append(End(thing=thing, share=share, words=words, **more, **numbers))
        kinds = {values.kinds[pole.words[0]] for pole in pair if pole.proven} - {None}
        for kind in kinds:
            votes[kind] += (1.0 if share is None else share) / len(kinds)
    return Words(tuple(ends), votes.most_common(1)[0][0] if votes else None)


def _number(value: float) -> float | None:
    return None if value != value else float(value)


def keep_directions(survey: Survey, units: Sequence[str], directions: Float[Tensor, "unit thing embed"]) -> None:
    """The directions that heads' labels are along, beside the labels."""
    array = directions.float().numpy()
    survey.shelf.put(DIRECTIONS, xr.Dataset({"direction": (("unit", "thing", "embed"), array)}, {"unit": list(units)}))
