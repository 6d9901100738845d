"""The words for units: what both ends of their directions show, and whether that is proven. All that Summand shows as a
unit's meaning is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..text.components import components, limits_of_kinds, shares_of_kinds
from ..text.kinds import Values
from ..text.poles import ERROR, Pole, Signals, poles
from .survey import Survey
from .unit_words import End, Words, worded_kind
from .units import SINGULAR, Group

MOST_THINGS = 3
"""Directions of a head that are named at most."""

_MUCH_MORE = 1.5
_LEAST = 0.25  # of a unit's variance: values that are random directions explain so much of one head in 200 or fewer


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
    limits = limits_of_kinds(coefficients[:, places], gram, readings.read, ERROR)
    directions = torch.zeros(len(places), MOST_THINGS, readings.values.embeddings.shape[1], dtype=torch.float64)
    words, start = [], 0
    for row, place in enumerate(places):
        own = found[place]
        mine = pairs[start : start + len(own.share)]
        start += len(mine)
        kept = [k for k, pair in enumerate(mine) if pair[0].words or pair[1].words] or list(range(len(mine)))[:1]
        directions[row, : len(kept)] = own.directions[kept]
        of_kinds, by_chance = ({kind: float(each[row]) for kind, each in some.items()} for some in (shares, limits))
        said = [mine[k] for k in kept], [float(own.share[k]) for k in kept]
        words.append(_words(*said, readings.values, of_kinds, by_chance))
    return words, directions


def _poles(signal: Tensor, readings: Readings, owner: Sequence[int], size: int) -> list[tuple[Pole, Pole]]:
    return poles(Signals(*halves(signal), readings.choice, readings.final), owner, size, MOST_THINGS)


def _words(
    pairs: Sequence[tuple[Pole, Pole]],
    shares: Sequence[float | None],
    values: Values,
    of_kinds: Mapping[str, float] = MappingProxyType({}),
    by_chance: Mapping[str, float] = MappingProxyType({}),
) -> Words:
    ends = tuple(
        _end(pole, thing, share, values)
        for thing, (pair, share) in enumerate(zip(pairs, shares, strict=True))
        for pole in pair
    )
    said = Words(ends, shares=tuple(sorted(of_kinds.items(), key=lambda item: -item[1])))
    return replace(said, kind=attribute([end.kind for end in ends if end.proven], of_kinds, by_chance))


def attribute(named: Sequence[str | None], shares: Mapping[str, float], by_chance: Mapping[str, float]) -> str | None:
    """The property that a unit is of, which words of a small part of it do not decide.

    named: the kinds of its proven words, of which it is the one that explains most of the unit, unless another property
    explains more than 1.5 times as much. Then it is the other, if that explains a quarter of the unit and more than by
    chance, else none. Where nobody knows what the words' kind explains, or any kind, the words decide.

    >>> attribute(["place"], {"count": 0.5, "place": 0.06}, {"count": 0.02, "place": 0.02})
    'count'
    >>> attribute(["place"], {"count": 0.5, "place": 0.4}, {"count": 0.02, "place": 0.02})
    'place'
    """
    worded = worded_kind(named, shares)
    first = max(shares, key=lambda kind: shares[kind], default=None)
    if first is None or any(kind not in shares for kind in named):
        return worded
    if worded is not None and shares[first] <= _MUCH_MORE * shares[worded]:
        return worded
    return first if shares[first] >= _LEAST and shares[first] > by_chance[first] else None


def _end(pole: Pole, thing: int, share: float | None, values: Values) -> End:
    return End(
        thing=thing,
        share=share,
        sign=pole.sign,
        words=[values.texts[word] for word in pole.words],
        each=list(pole.each),
        shown=_number(pole.shown),
        chance=_number(pole.chance),
        limit=_number(pole.limit),
        p=_number(pole.p),
        agreement=_number(pole.agreement),
        silent=pole.silent,
        verdict=pole.verdict,
        kind=values.kinds[pole.words[0]] if pole.words else None,
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
