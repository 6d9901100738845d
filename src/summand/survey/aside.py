"""What is kept of the images that were held out, for labels: whole coefficients of heads, and the terms of M(x)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..towers.precision import doubled
from .batch import Batch
from .consumers import ASIDE, MomentsOf
from .per_image import PerImage


class Coefficients(PerImage):
    """c − c̄ of the heads on images kept aside, [image, *unit, path], in fp16 and in units of each head's largest
    standard deviation: a label may lie along any direction of a head, and is scored on these images."""

    stages: tuple[int, ...] = (ASIDE,)
    streamed = False  # of few images

    def __init__(self, moments: MomentsOf) -> None:
        super().__init__()
        self.group, self.groups, self._moments = moments.group, moments.groups, moments

    @cached_property
    def scale(self) -> Float[Tensor, "*unit"]:
        largest = self._moments.value.covariance.diagonal(dim1=-2, dim2=-1).amax(dim=-1).sqrt()
        return torch.where(largest > 0, largest, 1)

    @property
    def values(self) -> np.ndarray:
        found = self.ordered().get("coefficient")
        return np.zeros((0, *self._moments.value.mean.shape), dtype=np.float16) if found is None else found

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        centred = doubled(self._moments.effects(batch).coefficients) - self._moments.value.mean
        return {"coefficient": (centred / self.scale[..., None]).half()}

    def fresh(self) -> Coefficients:
        """In the same units."""
        other = Coefficients(self._moments)
        other.__dict__["scale"] = self.scale
        return other


class Terms(PerImage):
    """What all heads, all MLPs and the input write into M(x), of the images kept aside: how much of the representation
    an explanation by heads can speak of."""

    stages: tuple[int, ...] = (ASIDE,)
    streamed = False  # of few images

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        mlps, embedding = batch.parts.mlps().sum(dim=1), batch.parts.embedding()
        heads = batch.outputs - mlps - embedding - batch.parts.bias()
        return {"heads": heads.float(), "mlps": mlps.float(), "embedding": embedding.float()}
