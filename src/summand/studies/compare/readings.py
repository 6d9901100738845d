"""What two models read in the same images: shares of properties, which are tied, which are read otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

TOLERANCE = 0.05
"""Models may read a property otherwise on so many of the images without having changed."""
_TINY = 1e-300
_ERROR = 0.05  # of naming anything at all where nothing changed


@dataclass(frozen=True)
class Readings:
    r"""r_v(x) = ⟨M(x)/‖M(x)‖, t_v⟩ of every image and value, less its mean over the images, and less the mean of the
    values of its property: what tells "red" from other colours. kinds: the property of each value.

    Nothing in it depends on the space of the embeddings, so models of any size may be compared.
    """

    values: Float[Tensor, "image value"]
    kinds: tuple[str | None, ...]

    @staticmethod
    def of(
        images: Float[Tensor, "image embed"], texts: Float[Tensor, "value embed"], kinds: Sequence[str | None]
    ) -> Readings:
        along = F.normalize(images.double(), dim=1) @ texts.double().T
        along = along - along.mean(dim=0)
        for places in blocks(kinds).values():
            along[:, places] -= along[:, places].mean(dim=1, keepdim=True)
        return Readings(along, tuple(kinds))


def blocks(kinds: Sequence[str | None]) -> dict[str, list[int]]:
    """The places of the values of each property that has at least two."""
    found: dict[str, list[int]] = {}
    for place, kind in enumerate(kinds):
        if kind is not None:
            found.setdefault(kind, []).append(place)
    return {kind: places for kind, places in found.items() if len(places) > 1}


@dataclass(frozen=True)
class Change:
    """how: a property's share of what is read ("share"), two properties that go together ("tie"), or one that is read
    otherwise ("read"). z: how many standard errors of the images the change is. named: whether it is more than they."""

    how: Literal["share", "tie", "read"]
    what: tuple[str, ...]
    before: float
    after: float
    z: float
    named: bool

    @property
    def name(self) -> str:
        return "–".join(self.what)

    @property
    def size(self) -> float:
        """|√after − √before|, the distance of two shares whose error does not depend on where they are (Hellinger)."""
        return abs(self.after**0.5 - self.before**0.5)


def statistics(covariance: Float[Tensor, "value value"], kinds: Sequence[str | None]) -> dict[tuple[str, ...], float]:
    r"""share(K) = tr C_KK / tr C, and for two properties the RV coefficient (Escoufier 1973)
    ‖C_KL‖² / (‖C_KK‖ ‖C_LL‖): 0 where what is read of one says nothing of the other."""
    places = blocks(kinds)
    member = covariance.new_zeros(len(kinds), len(places))
    for column, own in enumerate(places.values()):
        member[own, column] = 1
    shares = covariance.diagonal() @ member / covariance.diagonal().sum().clamp(min=_TINY)
    together = member.T @ covariance.square() @ member
    size = together.diagonal().sqrt()
    ties = (together / (size[:, None] * size).clamp(min=_TINY)).tolist()
    names = list(places)
    found: dict[tuple[str, ...], float] = {(name,): share for name, share in zip(names, shares.tolist(), strict=True)}
    for i, one in enumerate(names):
        found |= {(one, other): ties[i][j] for j, other in enumerate(names) if j > i}
    return found


def changes(a: Readings, b: Readings, draws: int, seed: int = 0) -> tuple[list[Change], float]:
    """Every share, tie and reading before and after, named ones first, by size; and the z above which one is named.

    z: of shares and ties in standard errors of the difference, from draws of the images with replacement, each model's
    its own: as if the two had been shown different images. The limit is the 95th percentile of the largest |z| among
    all where both are the same model. read: the share of images that two models read otherwise, less a tolerance of
    5 %, in its standard errors.
    """
    rng = np.random.default_rng(seed)
    before, after = (statistics(_covariance(one.values), one.kinds) for one in (a, b))
    names = list(before)
    drawn = []
    for one in (a, b):
        rows = [statistics(_covariance(one.values, _weights(len(one.values), rng)), one.kinds) for _ in range(draws)]
        drawn.append(np.array([[row[name] for name in names] for row in rows]))
    spread = np.sqrt(drawn[0].var(axis=0) + drawn[1].var(axis=0)).clip(1e-12)
    half = draws // 2
    own = drawn[0].std(axis=0).clip(1e-12) * np.sqrt(2)
    largest = (np.abs(drawn[0][:half] - drawn[0][half : 2 * half]) / own).max(axis=1)
    limit = float(np.quantile(largest, 1 - _ERROR))
    found = []
    for place, name in enumerate(names):
        z = (after[name] - before[name]) / spread[place]
        how = "share" if len(name) == 1 else "tie"
        found.append(Change(how, name, before[name], after[name], float(z), bool(abs(z) > limit)))
    error = np.sqrt(TOLERANCE * (1 - TOLERANCE) / len(a.values))
    for kind, places in blocks(a.kinds).items():
        other = float((a.values[:, places].argmax(dim=1) != b.values[:, places].argmax(dim=1)).double().mean())
        z = (other - TOLERANCE) / error
        found.append(Change("read", (kind,), TOLERANCE, other, float(z), bool(z > limit)))
    return sorted(found, key=lambda one: (not one.named, -one.size)), limit


def _weights(count: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.multinomial(count, np.full(count, 1 / count))).double()


def _covariance(values: Tensor, weights: Tensor | None = None) -> Float[Tensor, "value value"]:
    weights = values.new_ones(len(values)) if weights is None else weights
    centred = values - (weights @ values) / weights.sum()
    return centred.T @ (centred * weights[:, None]) / weights.sum()


def swaps(a: Readings, b: Readings, kind: str, values: Sequence[str]) -> tuple[str, str] | None:
    """The two values of a property of which one model reads most images as the first and the other as the second."""
    places = blocks(a.kinds)[kind]
    one, other = (readings.values[:, places].argmax(dim=1) for readings in (a, b))
    apart = one != other
    if not bool(apart.any()):
        return None
    pairs, count = torch.stack([one[apart], other[apart]], dim=1).unique(dim=0, return_counts=True)
    first, second = (int(place) for place in pairs[int(count.argmax())])
    return values[places[first]], values[places[second]]


def words(a: Readings, b: Readings, values: Sequence[str]) -> list[dict[str, object]]:
    """Every value with its share of what is read, before and after, the largest change first."""
    shares = [one.values.var(dim=0) / one.values.var(dim=0).sum() for one in (a, b)]
    rows = [
        {"word": word, "property": kind, "before": float(x), "after": float(y), "change": float(y - x)}
        for word, kind, x, y in zip(values, a.kinds, *shares, strict=True)
    ]
    return sorted(rows, key=lambda row: -abs(float(str(row["change"]))))
