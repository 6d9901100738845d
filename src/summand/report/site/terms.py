"""What the MLPs and the input write along the texts, beside the heads on the front page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.direct import Parts
from ...statistics.variance_over import variance_over
from ...survey import Survey
from ...towers.precision import doubled

_MOST = 256


@dataclass(frozen=True)
class Shares:
    """Variance along the centred texts, as a share of that of all heads together (each for itself): what makes a
    layer's MLP and the input comparable with a cell of the map. images: how many it was measured on."""

    mlps: tuple[float, ...]
    embedding: float
    images: int


class WhatMlpsWrite:
    """Σ_t Var⟨mlp_l, t⟩ of every layer over images kept aside, at most 256 of them, as they go by."""

    def __init__(self, survey: Survey, embeddings: Float[Tensor, "text embed"]) -> None:
        held = survey.held_out_images
        step = max(1, -(-len(held) // _MOST))
        self.wanted = [int(image) for image in held[::step]] if survey.holds("heads") else []
        texts = doubled(embeddings.cpu())
        self._texts = texts - texts.mean(dim=0)
        self._whole = float(variance_over(survey.moments("heads"), self._texts).sum()) if self.wanted else 0.0
        self._wanted, self._count = set(self.wanted), 0
        self._sum, self._squares = torch.zeros(1), torch.zeros(1)

    def see(self, numbers: Sequence[int], parts: Parts) -> None:
        rows = [row for row, image in enumerate(numbers) if image in self._wanted]
        if rows:
            terms = torch.cat([parts.mlps(), parts.embedding()[:, None]], dim=1)[rows]
            along = doubled(terms.cpu()) @ self._texts.T  # [image, term, text]
            self._count += len(rows)
            self._sum, self._squares = self._sum + along.sum(dim=0), self._squares + along.square().sum(dim=0)

    def shares(self) -> Shares | None:
        """None where there were too few images."""
        if self._count < 2 or not self._whole:
            return None
        variance = (self._squares / self._count - (self._sum / self._count).square()).sum(dim=-1) / self._whole
        return Shares(tuple(variance[:-1].tolist()), float(variance[-1]), self._count)
