"""What a pass can keep: small classes that take batches, merge, and say all that they know as plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..effects.effects import Effects
from ..statistics import saving
from ..statistics.moments import Moments
from ..statistics.principal_direction import RankOne, deviation, rank_one
from ..statistics.top_images import TopImages
from ..towers.precision import doubled
from .batch import Arrays, Batch
from .units import Group

USED, AGAIN, ASIDE = 0, 1, 2
"""The stages of a survey: images that statistics are made of, the same a second time, images kept aside."""


class MomentsOf:
    """Count, mean and covariance of a group's coefficients. of: where they are of something made of the effects,
    such as their sum over heads."""

    stages: tuple[int, ...] = (USED,)

    def __init__(self, group: Group, device: str = "cpu", of: Callable[[Batch], Effects] | None = None) -> None:
        self.group, self.device, self._of = group, device, of
        self.groups: tuple[Group, ...] = (group,)
        self.value = Moments()

    def effects(self, batch: Batch) -> Effects:
        return batch.effects(self.group) if self._of is None else self._of(batch)

    def update(self, batch: Batch) -> None:
        self.value.update(self.effects(batch))

    def fresh(self) -> MomentsOf:
        return MomentsOf(self.group, self.device, self._of)

    def merge(self, other: MomentsOf) -> None:
        self.value.merge(other.value)

    def state(self) -> Arrays:
        return saving.flat(self.value.basis, self.value.arrays()) if self.value.count else {}

    def restore(self, state: Arrays) -> None:
        self.value = Moments.of_arrays(*saving.parts(state)).to(self.device) if state else Moments()


class TopImagesOf:
    """The images of a group's largest centred effects; they need the mean, and so a second time through the images."""

    stages: tuple[int, ...] = (AGAIN,)

    def __init__(self, moments: MomentsOf, k: int) -> None:
        self.group, self.groups, self.k = moments.group, moments.groups, k
        self._moments, self._value = moments, None

    @property
    def value(self) -> TopImages:
        if self._value is None:
            self._value = TopImages(self.k, self._moments.value.mean)
        return self._value

    def restore_value(self, value: TopImages) -> None:
        """Know these, and nothing else."""
        self._value = value

    def update(self, batch: Batch) -> None:
        self.value.update(self._moments.effects(batch), batch.indices)

    def fresh(self) -> TopImagesOf:
        """By distance from the same mean."""
        return TopImagesOf(self._moments, self.k)

    def merge(self, other: TopImagesOf) -> None:
        self.value.merge(other.value)

    def state(self) -> Arrays:
        known = self._value is not None and self._value.count
        return saving.flat(self.value.basis, self.value.arrays()) if known else {}

    def restore(self, state: Arrays) -> None:
        self._value = TopImages.of_arrays(*saving.parts(state)).to(self._moments.device) if state else None


class Projections:
    """x_n of images kept aside, in units of its standard deviation over the others, so that fp16 holds three digits
    whatever the model's scale."""

    stages: tuple[int, ...] = (ASIDE,)

    def __init__(self, moments: MomentsOf, top: TopImagesOf | None) -> None:
        self.group, self.groups = moments.group, moments.groups
        self._moments, self._top = moments, top
        self._found: list[np.ndarray] = []
        self._indices: list[int] = []

    @cached_property
    def rank(self) -> RankOne:
        """r_n: from the top images, or from the moments where none are kept."""
        return rank_one(self._moments.value if self._top is None else self._top.value)

    @cached_property
    def scale(self) -> Float[Tensor, "*unit"]:
        return deviation(self.rank, self._moments.value)

    @property
    def values(self) -> np.ndarray:
        """[image, *unit], fp16, in the order of the images' numbers."""
        if not self._found:
            return np.zeros((0, *self._moments.value.basis.shape[:-2]), dtype=np.float16)
        return np.concatenate(self._found)[np.argsort(self._indices)]

    @property
    def images(self) -> np.ndarray:
        """Their numbers, in order."""
        return np.sort(np.array(self._indices, dtype=np.int64))

    def update(self, batch: Batch) -> None:
        x = self.rank.project(self._moments.effects(batch)) / torch.where(self.scale > 0, self.scale, 1)
        self._found.append(x.half().cpu().numpy())
        self._indices += batch.indices

    def fresh(self) -> Projections:
        """On the same r_n."""
        other = Projections(self._moments, self._top)
        other.__dict__["rank"], other.__dict__["scale"] = self.rank, self.scale
        return other

    def merge(self, other: Projections) -> None:
        self._found += other._found
        self._indices += other._indices

    def state(self) -> Arrays:
        if not self._found:
            return {}
        self._found = [np.concatenate(self._found)]
        return {"values": self._found[0], "images": np.array(self._indices)}

    def restore(self, state: Arrays) -> None:
        self._found, self._indices = ([state["values"]], state["images"].tolist()) if state else ([], [])


class MeanTerms:
    """The mean of every term of the sum, all heads as one: what mean-ablation puts in its place."""

    groups: tuple[Group, ...] = ()
    stages: tuple[int, ...] = (USED,)

    def __init__(self) -> None:
        self.count = 0
        self._sums: Arrays = {}

    @property
    def value(self) -> Arrays:
        """heads [embed], mlps [layer, embed], embedding [embed], bias [embed], in fp64."""
        return {name: total / self.count for name, total in self._sums.items()}

    def update(self, batch: Batch) -> None:
        parts = batch.parts
        terms = {"mlps": parts.mlps(), "embedding": parts.embedding(), "bias": parts.bias()}
        sums = {name: doubled(term).sum(dim=0).cpu().numpy() for name, term in terms.items()}
        whole = doubled(batch.outputs).sum(dim=0).cpu().numpy()
        heads = whole - sums["mlps"].sum(axis=0) - sums["embedding"] - sums["bias"]
        self._add({"heads": heads, **sums}, len(batch))

    def fresh(self) -> MeanTerms:
        return MeanTerms()

    def merge(self, other: MeanTerms) -> None:
        self._add(other._sums, other.count)

    def _add(self, sums: Arrays, count: int) -> None:
        self._sums = {name: self._sums.get(name, 0) + total for name, total in sums.items()} or self._sums
        self.count += count

    def state(self) -> Arrays:
        return {"count": np.array(self.count), **self._sums} if self.count else {}

    def restore(self, state: Arrays) -> None:
        self.count = int(state.get("count", 0))
        self._sums = {name: total for name, total in state.items() if name != "count"}
