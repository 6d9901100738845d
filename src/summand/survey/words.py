"""The words for units: what both ends of their directions show, and whether that is proven. All that Summand shows as a
unit's meaning is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..text.components import components, shares_of_kinds
from ..text.kinds import Values
from ..text.poles import Pole, Signals, Verdict, poles
from . import store
from .shelf import DIRECTIONS
from .survey import Survey
from .units import SINGULAR, Group

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
    """What a unit is called. ends: of each of its directions both, + first. kind: the property that its proven words
    are of, of several the one that explains most of its variance. shares: of heads, what each property explains of it,
    largest first (`shares_of_kinds`). shown_as: `text`, where it is known already."""

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
    def short(self) -> str:
        """The first direction alone, without its share, for a small place."""
        first = self.first
        if first is None or not first.proven:
            return self.text
        return " ↔ ".join(end.text for end in self.ends if end.proven and end.thing == first.thing)

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
        head's variance along it; "a circle / a ring": some of these images, some of those; "·" between directions."""
        if self.shown_as is not None:
            return self.shown_as
        things = dict.fromkeys(end.thing for end in self.ends)
        said = [self._thing([end for end in self.ends if end.thing == thing and end.proven]) for thing in things]
        proven = [text for text in said if text]
        if proven:
            return " · ".join(proven)
        first = next((end for end in self.ends if end.words), None)
        return f"({self.verdict})" if first is None else f"{first.text} ({self.verdict})"

    @staticmethod
    def _thing(ends: Sequence[End]) -> str:
        if not ends:
            return ""
        share = "" if ends[0].share is None else f" {100 * ends[0].share:.0f} %"
        return " ↔ ".join(end.text for end in ends) + share

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


@dataclass(frozen=True)
class Readings:
    """Which values the images kept aside show, in their two halves; read: of every kind the value of all of them."""

    values: Values
    choice: Bool[Tensor, "image value"]
    final: Bool[Tensor, "image2 value"]
    read: dict[str, Int[Tensor, " image3"]]

    @staticmethod
    def of(survey: Survey, values: Values) -> Readings:
        held = torch.tensor(survey.images["held_out"].to_numpy(), dtype=torch.bool)
        embeddings = survey.embeddings.double()
        shown = values.shown(embeddings[held], embeddings[~held])
        return Readings(values, *halves(shown), values.read(embeddings[held]))

    def shuffled(self, seed: int) -> Readings:
        """The images in another order than the units': what is still proven is false."""
        draw = torch.Generator().manual_seed(seed)
        choice, final = (shown[torch.randperm(len(shown), generator=draw)] for shown in (self.choice, self.final))
        return Readings(self.values, choice, final, self.read)


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
    gram = survey.rank_one(group).basis.double()._gram().flatten(0, -3)[places]
    shares = shares_of_kinds(coefficients[:, places], gram, readings.read)
    directions = torch.zeros(len(places), MOST_THINGS, readings.values.embeddings.shape[1], dtype=torch.float64)
    words, start = [], 0
    for row, place in enumerate(places):
        own = found[place]
        mine = pairs[start : start + len(own.share)]
        start += len(mine)
        kept = [k for k, pair in enumerate(mine) if pair[0].words or pair[1].words] or list(range(len(mine)))[:1]
        directions[row, : len(kept)] = own.directions[kept]
        of_kinds = {kind: float(share[row]) for kind, share in shares.items()}
        words.append(_words([mine[k] for k in kept], [float(own.share[k]) for k in kept], readings.values, of_kinds))
    return words, directions


def _poles(signal: Tensor, readings: Readings, owner: Sequence[int], size: int) -> list[tuple[Pole, Pole]]:
    return poles(Signals(*halves(signal), readings.choice, readings.final), owner, size, MOST_THINGS)


def _words(
    pairs: Sequence[tuple[Pole, Pole]],
    shares: Sequence[float | None],
    values: Values,
    of_kinds: Mapping[str, float] = MappingProxyType({}),
) -> Words:
    ends: list[End] = []
    kinds: dict[str, float] = {}
    for thing, (pair, share) in enumerate(zip(pairs, shares, strict=True)):
        for pole in pair:
            words = [values.texts[word] for word in pole.words]
            ends.append(_end(pole, thing, share, words))
            kind = values.kinds[pole.words[0]] if pole.proven else None
            if kind is not None:
                kinds.setdefault(kind, of_kinds.get(kind, 0.0))
    known = sorted(of_kinds.items(), key=lambda item: -item[1])
    return Words(tuple(ends), max(kinds, key=lambda kind: kinds[kind], default=None), tuple(known))


def _end(pole: Pole, thing: int, share: float | None, words: list[str]) -> End:
    return End(
        thing=thing,
        share=share,
        sign=pole.sign,
        words=words,
        each=list(pole.each),
        shown=_number(pole.shown),
        chance=_number(pole.chance),
        limit=_number(pole.limit),
        p=_number(pole.p),
        agreement=_number(pole.agreement),
        silent=pole.silent,
        verdict=pole.verdict,
    )


def _number(value: float) -> float | None:
    return None if value != value else float(value)


def false_proofs(survey: Survey, readings: Readings, size: int, seeds: Sequence[int]) -> dict[str, float]:
    """The share of units, by kind, whose words are proven though the images were shuffled."""
    found: dict[str, list[bool]] = {}
    for group in survey.groups:
        units = list(np.ndindex(*survey.shape(group)))
        for seed in seeds:
            words, _ = words_of_units(survey, group, readings.shuffled(seed), units, size)
            found.setdefault(SINGULAR[group.kind], []).extend(some.verdict == "proven" for some in words)
    return {kind: float(np.mean(proven)) for kind, proven in found.items()}


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


def words_of_row(row: Mapping[str, Any] | pd.Series) -> Words:
    """The words of a unit from its row of the table of labels."""
    properties: Any = row["properties"]
    shares = tuple((str(item["property"]), float(item["share"])) for item in properties)
    ends: Any = row["poles"]
    kind = row["attribute"]
    return Words.of(ends, kind if isinstance(kind, str) else None, shares, str(row["label"]))
