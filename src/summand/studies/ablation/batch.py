"""A batch of images as ablations see it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.effects import Effects
from ...models import Model
from ...survey import engine


class Batch(engine.Batch):
    """A batch of images; every term that some ablation asks for is computed once."""

    def __init__(self, model: Model, pixels: Tensor, indices: Sequence[int]) -> None:
        super().__init__(model, indices, pixels)
        self._second_order: dict[int, Effects] = {}
        self._latents: dict[int, Effects] = {}

    @cached_property
    def layers(self) -> Float[Tensor, "image layer embed"]:
        """The heads' direct effects, summed over the heads of each layer."""
        effects = self.parts.head_effects()
        return torch.einsum("ilhc,lhce->ile", effects.coefficients, effects.basis._whole())

    @cached_property
    def total(self) -> Float[Tensor, "image embed"]:
        parts = self.parts
        return parts.embedding() + self.layers.sum(dim=1) + parts.mlps().sum(dim=1) + parts.bias()

    def second_order(self, layer: int) -> Effects:
        if layer not in self._second_order:
            self._second_order[layer] = self.model.second_order(self.pixels, layer)
        return self._second_order[layer]

    def latents(self, layer: int) -> Effects:
        if layer not in self._latents:
            self._latents[layer] = self.model.latents(self.pixels, layer)
        return self._latents[layer]

    @cached_property
    def pairs(self) -> Effects:
        return self.model.pairs(self.pixels)
