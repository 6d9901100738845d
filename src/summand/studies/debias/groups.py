"""Accuracy by group, (class, value of a second attribute): each, the worst, and in the mix of the training data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from ...data.labelled import Labelled
from ...errors import SummandError, listed


@dataclass(frozen=True)
class GroupAccuracy:
    r"""Accuracy of every group, [class, value], NaN where a group has no image; counts: its images.

    shares: how often each group is in the training data. worst = min over groups; weighted = Σ_g share_g accuracy_g
    (Sagawa et al., 2020); mean: over all images.
    """

    classes: tuple[str, ...]
    values: tuple[str, ...]
    accuracy: Float[np.ndarray, "klass value"]
    counts: Int[np.ndarray, "klass value"]
    shares: Float[np.ndarray, "klass value"]

    @property
    def worst(self) -> float:
        return float(np.nanmin(self.accuracy))

    @property
    def worst_group(self) -> tuple[str, str]:
        row, column = np.unravel_index(np.nanargmin(self.accuracy), self.accuracy.shape)
        return self.classes[row], self.values[column]

    @property
    def mean(self) -> float:
        return float(np.nansum(self.accuracy * self.counts) / self.counts.sum())

    @property
    def balanced(self) -> float:
        """Mean over groups: every group counts alike."""
        return float(np.nanmean(self.accuracy))

    @property
    def weighted(self) -> float:
        there = self.counts > 0
        return float((self.accuracy[there] * self.shares[there]).sum() / self.shares[there].sum())

    @property
    def unweighted(self) -> list[tuple[str, str]]:
        """Groups with images here and none in the training data: they do not count in `weighted`."""
        places = np.argwhere((self.counts > 0) & (self.shares == 0))
        return [(self.classes[row], self.values[column]) for row, column in places]

    def lowest(self, share: float) -> float:
        """Mean accuracy of the worst `share` of the groups: steadier than the worst one where groups are many."""
        known = np.sort(self.accuracy[self.counts > 0])
        return float(known[: max(1, round(share * len(known)))].mean())


def group_accuracy(
    data: Labelled, guesses: Int[np.ndarray, " image"], indices: Int[np.ndarray, " image"] | None = None
) -> GroupAccuracy:
    """guesses: a class for each image of `indices` (all of them by default)."""
    assert data.groups is not None
    rows = np.arange(len(data)) if indices is None else indices
    labels, groups = data.labels[rows], data.groups[rows]
    shape = (len(data.classes), len(data.values))
    counts, right = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (labels, groups), 1)
    np.add.at(right, (labels, groups), guesses == labels)
    accuracy = np.divide(right, counts, out=np.full(shape, np.nan), where=counts > 0)
    shares = data.shares if data.shares is not None else counts / counts.sum()
    return GroupAccuracy(data.classes, data.values, accuracy, counts, shares)


def check_groups(data: Labelled, allow_empty: bool) -> None:
    """Raises `SummandError` for images without groups, for one value alone, and (unless allowed) for an empty group."""
    if data.groups is None:
        raise SummandError(
            "these images have no groups; give groups= (a column, a table with file names, or an attribute)"
        )
    if len(np.unique(data.groups)) < 2:
        raise SummandError(
            f"all images have the same value of the second attribute, {data.values[int(data.groups[0])]!r}"
        )
    counts = np.zeros((len(data.classes), len(data.values)), dtype=np.int64)
    np.add.at(counts, (data.labels, data.groups), 1)
    empty = [f"{data.classes[row]} / {data.values[column]}" for row, column in np.argwhere(counts == 0)]
    if empty and not allow_empty:
        raise SummandError(
            f"{len(empty)} group(s) have no images: {listed(empty, most=4)}; give more images, or "
            f"allow_empty=True to leave them out of the worst group"
        )


def with_shares(data: Labelled, training: Labelled) -> Labelled:
    """`data`, its groups weighted as often as they are in `training`.

    Raises `SummandError` where names differ, and where the two have no group in common.
    """
    if (training.classes, training.values) != (data.classes, data.values):
        raise SummandError(
            f"the training images have classes {listed(training.classes, 4)} and groups {listed(training.values, 4)}, "
            f"the test images {listed(data.classes, 4)} and {listed(data.values, 4)}; they must be the same"
        )
    shares = training.frequencies()
    assert data.groups is not None
    if not shares[data.labels, data.groups].any():
        raise SummandError(
            "no group of the test images is among the training images, so there is no mix to weight them by; give "
            "training images of the same groups"
        )
    return replace(data, shares=shares)
