"""Heads and neurons of two models set against each other: by name, or by the likeness of their effects."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...survey.survey import Survey
from ...survey.units import SINGULAR
from .readings import Change, blocks

SAME = 0.5
"""Units of two models are matched by name where the median correlation of those of one name is above this."""
_Z, _HEAVY = 4.0, 2.0  # standard errors of a log variance; how much larger they are than of normal numbers
_CORRELATED = 0.95
_CHUNK = 512


@dataclass(frozen=True)
class Units:
    """All units of one model over the images, in the words of both: nothing is of its embedding space.

    names, kinds: of each. signals: x_n of the images kept aside. profiles: ⟨r_n, t_v⟩ of each value. variance: what a
    unit writes along each value, Var⟨φ_n, t_v⟩ over the mean squared length of M. count: images the variance is of.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    signals: Float[Tensor, "image unit"]
    profiles: Float[Tensor, "unit value"]
    variance: Float[Tensor, "unit value"]
    count: int

    @staticmethod
    def of(survey: Survey, values: Float[Tensor, "value embed"], aside: Collection[int] | None = None) -> Units:
        """aside: the images kept aside that count, where another survey could not read all of them."""
        rows = [i for i, image in enumerate(survey.held_out_images.tolist()) if aside is None or image in aside]
        length = float(np.square(survey.images["norm"].to_numpy()).mean())
        names, groups, signals, profiles, variance = [], [], [], [], []
        for group in survey.groups:
            moments, shape = survey.moments(group), survey.shape(group)
            names += [group.unit(index) for index in np.ndindex(*shape)]
            groups += [SINGULAR[group.kind]] * int(np.prod(shape))
            signals.append(survey.held_out(group)[rows].flatten(1).double())
            profiles.append(survey.rank_one(group).directions.flatten(0, -2) @ values.T)
            variance.append(moments.variance_along(values).flatten(0, -2).clamp(min=0) / length)
        return Units(
            tuple(names), tuple(groups), torch.cat(signals, dim=1), torch.cat(profiles), torch.cat(variance),
            survey.moments(survey.groups[0]).count,
        )  # fmt: skip

    @property
    def total(self) -> Float[Tensor, " unit"]:
        return self.variance.sum(dim=1)


def likeness(a: Units, b: Units, own: Tensor, other: Tensor) -> Float[Tensor, " unit"]:
    """corr(x_n, x_m) cos(profile_n, profile_m): the cosine of two units' effects along the texts over all images."""
    return _correlation(a, b, own, other) * _cosine(a, b, own, other)


def _correlation(a: Units, b: Units, own: Tensor, other: Tensor) -> Tensor:
    one, two = _varying(a)[:, own], _varying(b)[:, other]
    return (one * two).sum(dim=0)


def _cosine(a: Units, b: Units, own: Tensor, other: Tensor) -> Tensor:
    return (F.normalize(a.profiles, dim=1)[own] * F.normalize(b.profiles, dim=1)[other]).sum(dim=1)


def _varying(units: Units) -> Tensor:
    return F.normalize(units.signals - units.signals.mean(dim=0), dim=0)


def matched(a: Units, b: Units, how: str) -> tuple[Int[Tensor, " unit"], str]:
    """For every unit of a the place of its unit in b, and how it was found: "index" or "correlation".

    Raises `SummandError` where units are to be matched by name and the names differ.
    """
    same = a.names == b.names
    if how == "index" and not same:
        raise SummandError(
            f"the models have other units, {len(a.names):,} and {len(b.names):,}, which cannot be matched by name; "
            f"leave matching='index' out, and each is set against the one with the likest effects"
        )
    places = torch.arange(len(a.names))
    if how == "index" or (how == "auto" and same and float(likeness(a, b, places, places).median()) > SAME):
        return places, "index"
    one, two = F.normalize(a.profiles, dim=1), F.normalize(b.profiles, dim=1)
    varying, others = _varying(a), _varying(b)
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys([*a.groups, *b.groups]))}
    own, other = (torch.tensor([kinds[kind] for kind in each.groups]) for each in (a, b))
    best = []
    for some in places.split(_CHUNK):
        alike = (varying[:, some].T @ others) * (one[some] @ two.T)
        best.append(alike.masked_fill(own[some][:, None] != other[None], -torch.inf).argmax(dim=1))
    return torch.cat(best), "correlation"


def changed(
    a: Units, b: Units, match: Tensor, values: Sequence[str], kinds: Sequence[str | None]
) -> list[dict[str, Any]]:
    """A row a unit of a, the one whose effects changed most first.

    change: E‖φ_b − φ_a‖² along the texts, of rank-one effects, σ_a² + σ_b² − 2 σ_a σ_b · likeness, over what all units
    of a vary. sure: whether its variance changed by more than other images would change it, or its effects on the same
    images correlate by less than 0.95.
    """
    own = torch.arange(len(a.names))
    before, after = a.total, b.total[match]
    correlation, cosine = _correlation(a, b, own, match), _cosine(a, b, own, match)
    turned = torch.where(cosine < 0, -1.0, 1.0)  # r_n may point either way: as it does where both go together
    correlation, cosine = correlation * turned, cosine * turned
    change = before + after - 2 * (before * after).sqrt() * correlation * cosine
    ratio = (after.clamp(min=1e-300) / before.clamp(min=1e-300)).log()
    error = _HEAVY * (2 / a.count + 2 / b.count) ** 0.5
    sure = (ratio.abs() > _Z * error) | (correlation.abs() < _CORRELATED)
    scale = float(before.sum().clamp(min=1e-300))
    names = [_words(units, values, kinds, place) for units, place in ((a, own), (b, match))]
    rows = [
        {
            "kind": a.groups[i],
            "unit": a.names[i],
            "other": b.names[int(match[i])],
            "before": float(before[i]) / scale,
            "after": float(after[i]) / scale,
            "correlation": float(correlation[i]),
            "cosine": float(cosine[i]),
            "change": float(change[i]) / scale,
            "sure": bool(sure[i]),
            "was": names[0][i][0],
            "is": names[1][i][0],
            "property": names[0][i][1],
            "now": names[1][i][1],
        }
        for i in range(len(a.names))
    ]
    return sorted(rows, key=lambda row: (not row["sure"], -row["change"]))


def _words(
    units: Units, values: Sequence[str], kinds: Sequence[str | None], places: Tensor
) -> list[tuple[str, str | None]]:
    """The value that a unit's direction is nearest to, and the property that it varies most along."""
    nearest = units.profiles.abs().argmax(dim=1)[places].tolist()
    own = blocks(kinds)
    sums = torch.stack([units.variance[:, where].mean(dim=1) for where in own.values()], dim=1)[places]
    most = sums.argmax(dim=1).tolist()
    names = list(own)
    return [(values[int(value)], names[int(kind)]) for value, kind in zip(nearest, most, strict=True)]


def through(a: Units, b: Units, match: Tensor, change: Change, kinds: Sequence[str | None], most: int = 4) -> list[str]:
    """The units whose share of all variance along the properties of a change changed most, as "5.3 (+ place)"."""
    own = blocks(kinds)
    shares = [units.variance / units.variance.sum().clamp(min=1e-300) for units in (a, b)]
    best: list[tuple[float, str]] = []
    for kind in change.what:
        moved = (shares[1][match] - shares[0])[:, own[kind]].sum(dim=1)
        for place in moved.abs().argsort(descending=True, stable=True)[:most].tolist():
            sign = "+" if moved[place] > 0 else "−"
            best.append((abs(float(moved[place])), f"{a.names[place]} ({sign} {kind})"))
    return [name for _, name in sorted(best, key=lambda pair: -pair[0])[:most]]
