"""What a text competes with: the other values of its kind, near-duplicates folded into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..errors import SummandError
from ..towers.finite import check_finite
from .properties import property_of

SAME = 0.95
"""Texts a, b of one kind are one value in two wordings where ‖a − b‖² ≤ (2 − 2 · SAME) ‖a‖ ‖b‖, centred: for equal
lengths a cosine of at least this. Not the cosine itself: numbers on one side of their mean have one direction."""

_NEIGHBOURS = 16  # of a text without a kind: what it competes with
_CHUNK = 1024


@dataclass(frozen=True)
class Values:
    """The texts of a pool, folded into values, and the values each competes with.

    texts: the wording of each value that is shown, the first in the pool that is more than a word, for a word alone may
    mean two things ("bank"). members: the places of its wordings in the pool, that one first. kinds: "colour", or None
    for a value that competes with its nearest neighbours instead. embeddings: the mean of its wordings, each of unit
    length, not centred.
    """

    texts: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    kinds: tuple[str | None, ...]
    embeddings: Float[Tensor, "value embed"]

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def rivals(self) -> tuple[list[Tensor], dict[int, Tensor]]:
        """Places of the values of each kind; of a value without a kind, or alone in it, those nearest to it."""
        named: dict[str, list[int]] = {}
        for place, kind in enumerate(self.kinds):
            if kind is not None:
                named.setdefault(kind, []).append(place)
        groups = [torch.tensor(places) for places in named.values() if len(places) > 1]
        grouped = {place for group in groups for place in group.tolist()}
        alone = [place for place in range(len(self)) if place not in grouped]
        centred = F.normalize(self.embeddings - self.embeddings.mean(dim=0), dim=1)
        count = min(_NEIGHBOURS + 1, len(self))
        nearest = {place: (centred @ centred[place]).topk(count).indices for place in alone}
        return groups, nearest

    @torch.no_grad()
    def read(self, images: Float[Tensor, "image embed"]) -> dict[str, Int[Tensor, " image"]]:
        """Of every kind with rivals the value of each image, as the model reads it: argmax_v ⟨M(I), t_v⟩."""
        along = images @ self.embeddings.to(images).T
        groups, _ = self.rivals
        return {str(self.kinds[int(group[0])]): group[along[:, group].argmax(dim=1)] for group in groups}

    @torch.no_grad()
    def shown(
        self, images: Float[Tensor, "image embed"], usual: Float[Tensor, "image2 embed"] | None = None
    ) -> Bool[Tensor, "image value"]:
        r"""Whether an image shows a value, as the model itself reads it: v = argmax_{w of its kind} ⟨M(I), t_w⟩, and
        ⟨M(I), t_v⟩ is above its median over the usual images (by default these).

        Among its kind, because values may lie on a line in embedding space, and then the two ends of the line, not
        "two objects", have the largest ⟨M(I), t⟩ for "two objects"; above the median, because something always wins.
        """
        embeddings = self.embeddings.to(images)
        along = images @ embeddings.T
        middle = (along if usual is None else usual.to(images) @ embeddings.T).median(dim=0).values
        found = torch.zeros_like(along, dtype=torch.bool)
        _, nearest = self.rivals
        for best in self.read(images).values():
            found[torch.arange(len(images)), best] = True
        for place, rivals in nearest.items():
            found[:, place] = along[:, place] >= along[:, rivals].amax(dim=1)
        return found & (along >= middle)


def values_of_pool(
    texts: Sequence[str],
    embeddings: Float[Tensor, "text embed"],
    properties: Sequence[str | None] = (),
) -> Values:
    """The values that a pool's texts name. properties: the kind of each text [default: `property_of` it].

    Raises `SummandError` where fewer than two values are left.
    """
    check_finite(embeddings, "text", "encode the texts again, or leave these out")
    kinds = list(properties) if len(properties) else [property_of(text) for text in texts]
    unit = F.normalize(embeddings.double(), dim=1)
    leaders = folded(unit, kinds)
    members: dict[int, list[int]] = {}
    for place, leader in enumerate(leaders):
        members.setdefault(leader, []).append(place)
    if len(members) < 2:
        raise SummandError(
            f"the {len(texts)} texts are one and the same to this model: a contrast needs at least 2 that differ"
        )
    wordings = [sorted(places, key=lambda place: len(texts[place].split()) < 2) for places in members.values()]
    return Values(
        tuple(texts[places[0]] for places in wordings),
        tuple(tuple(places) for places in wordings),
        tuple(kinds[leader] for leader in members),
        torch.stack([unit[places].mean(dim=0) for places in members.values()]),
    )


def folded(embeddings: Float[Tensor, "text embed"], kinds: Sequence[str | None], same: float = SAME) -> list[int]:
    """For every text the first one of its kind that it is a near-duplicate of, itself where there is none."""
    centred = embeddings - embeddings.mean(dim=0)
    leaders: list[int] = []
    found: list[int] = []
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(kinds))}
    kind_of = torch.tensor([codes[kind] for kind in kinds])
    for start in range(0, len(centred), _CHUNK):
        chunk = centred[start : start + _CHUNK]
        own = _alike(chunk, chunk, same)
        known = torch.tensor(leaders, dtype=torch.long)
        alike = _alike(chunk, centred[known], same) & (kind_of[start : start + len(chunk), None] == kind_of[known])
        first = torch.where(alike.any(dim=1), alike.long().argmax(dim=1) if len(leaders) else -1, -1).tolist()
        new: list[int] = []
        for row in range(len(chunk)):
            place = start + row
            if first[row] >= 0:
                found.append(leaders[first[row]])
                continue
            twin = next((n for n in new if own[row, n - start] and kind_of[n] == kind_of[place]), None)
            found.append(place if twin is None else twin)
            if twin is None:
                new.append(place)
        leaders += new
    return found


def _alike(
    one: Float[Tensor, "text embed"], other: Float[Tensor, "text2 embed"], same: float
) -> Bool[Tensor, "text text2"]:
    lengths, others = one.norm(dim=1)[:, None], other.norm(dim=1)[None]
    rounding = 1e-12 * (lengths.amax() if len(one) else 0) ** 2
    apart = lengths.square() + others.square() - 2 * one @ other.T
    return apart <= (2 - 2 * same) * lengths * others + rounding
