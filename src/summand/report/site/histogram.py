"""How often a unit is significant: the norms of its effects over all images, as bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...survey import Group, Survey

_BARS = 24


@dataclass(frozen=True)
class Bars:
    """heights: of each bar relative to the tallest, smallest norm first; counts: images in it; threshold: where, from 0
    to 1 along the axis, an effect becomes significant; images: how many."""

    heights: tuple[float, ...]
    counts: tuple[int, ...]
    threshold: float
    images: int


def bars_of(survey: Survey, group: Group) -> dict[tuple[int, ...], Bars]:
    """Of every unit that keeps top images; the axis is logarithmic, a bar is two bins of the sketch."""
    data = survey.dataset(group)
    if "norm_counts" not in data:
        return {}
    counts, highest = data["norm_counts"].values, data["norm_highest"].values
    limits = survey.thresholds(group).numpy()
    found = {}
    for index in np.ndindex(*counts.shape[:-1]):
        own = counts[index][: 2 * _BARS].astype(np.int64)
        own[-1] += int(counts[index][2 * _BARS :].sum())
        folded = own.reshape(-1, 2).sum(axis=1)[::-1]
        top = float(highest[index]) + 1  # the upper edge of the highest bin, in bins
        limit = float(limits[index])
        place = (math.log(limit) / math.log(1.1) - (top - 2 * _BARS)) / (2 * _BARS) if limit > 0 else 1.0
        most = max(1, int(folded.max()))
        found[index] = Bars(
            tuple(float(n) / most for n in folded),
            tuple(int(n) for n in folded),
            min(max(place, 0.0), 1.0),
            int(own.sum()),
        )
    return found
