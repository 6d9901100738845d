"""Quantiles of norms without the norms: a histogram of fixed size on a logarithmic scale, mergeable."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..towers.precision import doubled

_RATIO = 1.1
_LOWEST = -(1 << 20)  # the bin of zero


class NormSketch:
    r"""Counts of norms in [r^b, r^(b+1)), r = 1.1, for every unit: in the highest bin that it ever reached, the 62 bins
    below that, and one for all that is smaller (a 400th of the largest norm and less).

    A quantile read from it is within √r − 1 = 4.9 % of a norm that was seen, or an upper bound in the last bin. Only
    integers are added and the bins do not depend on the data, so any order and any split of the images give the same
    counts. (The idea is that of DDSketch, Masson et al., VLDB 2019, with collapsing lowest bins.)

    highest: [*unit]; counts: [*unit, bin], from the highest bin down.
    """

    relative_error = math.sqrt(_RATIO) - 1
    bins = 64

    def __init__(self, highest: Int[Tensor, "*unit"], counts: Int[Tensor, "*unit bin"]) -> None:
        self.highest, self.counts = highest, counts

    @classmethod
    def of(cls, norms: Float[Tensor, "*unit image"]) -> NormSketch:
        """A sketch of these norms."""
        bins = (norms.log() / math.log(_RATIO)).floor().clamp(min=_LOWEST).long()
        highest = bins.amax(dim=-1)
        places = (highest[..., None] - bins).clamp(max=cls.bins - 1)
        counts = torch.zeros(*highest.shape, cls.bins, dtype=torch.int32, device=norms.device)
        return cls(highest, counts.scatter_add_(-1, places, torch.ones_like(places, dtype=torch.int32)))

    def merge(self, other: NormSketch) -> NormSketch:
        """Take in the norms that another sketch has seen. Returns itself."""
        highest = torch.maximum(self.highest, other.highest)
        self.counts = self._below(highest) + other._below(highest)
        self.highest = highest
        return self

    def _below(self, highest: Int[Tensor, "*unit"]) -> Int[Tensor, "*unit bin"]:
        """The counts, from another highest bin down."""
        down = highest - self.highest
        moved = down > 0
        if not bool(moved.any()):
            return self.counts
        places = (torch.arange(self.bins, device=down.device) + down[moved][:, None]).clamp(max=self.bins - 1)
        counts = self.counts.clone()
        counts[moved] = torch.zeros_like(counts[moved]).scatter_add_(-1, places, counts[moved])
        return counts

    def from_above(self, rank: int) -> Float[Tensor, "*unit"]:
        """About the norm that `rank` of the norms exceed."""
        place = (self.counts.cumsum(dim=-1) <= rank).sum(dim=-1).clamp(max=self.bins - 1)
        middle = doubled(torch.where(place == self.bins - 1, 1.0, 0.5))
        found = torch.exp((self.highest - place + middle) * math.log(_RATIO))
        return torch.where(self.highest <= _LOWEST, 0.0, found)
