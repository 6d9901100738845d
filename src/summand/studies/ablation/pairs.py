"""Ablation of the neuron–head pairs of an attention pool, all but the strongest (paper B)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...effects.effects import Effects
from ...errors import SummandError
from ...statistics.moments import Moments
from ...statistics.top_images import TopImages
from ...survey import Survey
from .accuracy import Batch, Version

TOP_NORMS = 50


class Pairs:
    """Everything but k % of the neuron–head pairs replaced by its mean; the pairs are ranked by the mean of their
    largest centred norms, 50 images each (paper B). `neurons` does the same with whole neurons (all heads together)."""

    rounds, axis = 2, "% kept"

    def __init__(self, keep: Sequence[float], top: int = TOP_NORMS, neurons: bool = False) -> None:
        wrong = [share for share in keep if not 0 < share <= 100]
        if wrong or not keep:
            raise SummandError(f"the share of pairs to keep is a percentage above 0 and up to 100, got {list(keep)}")
        self._keep, self._size, self._neurons = sorted(keep), top, neurons
        self._mean_of: Moments = Moments()
        self._top: TopImages | None = None
        self._order: Tensor | None = None

    def _effects(self, batch: Batch) -> Effects:
        return batch.pairs.sum_over_last_unit() if self._neurons else batch.pairs

    def learn(self, turn: int, batch: Batch) -> None:
        if turn == 0:
            self._mean_of.update(batch.pairs)
        else:
            assert self._top is not None
            self._top.update(self._effects(batch), batch.indices)

    def end(self, turn: int) -> None:
        if turn == 0:
            mean = self._mean_of.mean
            self._top = TopImages(self._size, mean.flatten(-2) if self._neurons else mean)
        else:
            self._ready()

    def _ready(self) -> None:
        assert self._top is not None
        self._order = self._top.norms.mean(dim=-1).flatten().argsort(descending=True, stable=True)

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means and top images of a survey's pairs; it holds none of whole neurons."""
        if self._neurons or not survey.holds("pairs") or survey.manifest.top == 0:
            return False
        self._mean_of, self._top = survey.moments("pairs").to(device), survey.top_images("pairs").to(device)
        self._ready()
        return True

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        assert self._order is not None
        effects = batch.pairs
        centred = effects.coefficients - self._mean_of.mean.to(effects.coefficients)
        everything = effects.basis.total(centred)
        what = "neurons" if self._neurons else "neuron–head pairs"
        for share in self._keep:
            kept = torch.zeros(len(self._order), dtype=centred.dtype, device=centred.device)
            kept[self._order[: max(1, round(len(kept) * share / 100))]] = 1
            mask = kept[:, None, None] if self._neurons else kept.reshape(*centred.shape[1:3], 1)
            version = Version("pairs", f"all but {share:g} % of the {what}", what, share)
            yield version, batch.total - everything + effects.basis.total(centred * mask)
