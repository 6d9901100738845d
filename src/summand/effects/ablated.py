"""A tower in which some units always write their mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..towers import Trace
from ..towers.base import Visit
from ..towers.bound import Bound

ROUNDED = 2e-2
"""How far directions may be from those of the file, relative to their size: as far as bf16 rounds the weights."""


class AblatedTower(Bound):
    """`ablate(tower, pixels)` is the trace of one forward pass in which the units' part of the heads' coefficients is
    replaced by its mean; what: the units, for a reader; units and means: what a hash of the model takes in as well.

    `decompose` explains the ablated model, and its terms sum to what `encode` returns: the sum of the trace. The
    network itself runs unchanged, so later layers still read what the units wrote (the ablation of an effect, as in
    papers A and C); this is not the same as zeroing weights.
    """

    keep = "copy or pickle the summand.Model, which makes its towers anew"

    def __init__(
        self, tower: Any, ablate: Callable[[Any, Tensor], Trace], what: str, units: str, means: Tensor
    ) -> None:
        self._tower, self._ablate = tower, ablate
        self.ablation = getattr(tower, "ablation", b"") + units.encode() + means.double().cpu().numpy().tobytes()
        self.kind = f"{tower.kind} with {what} ablated"

    @property
    def whole(self) -> Any:
        """The tower without the ablation."""
        return getattr(self._tower, "whole", self._tower)

    def __getattr__(self, name: str) -> Any:
        if name == "_tower":
            raise AttributeError(name)
        return getattr(self._tower, name)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Float[Tensor, "image embed"]:
        trace = self.run(pixels)
        coefficients = (trace.values * trace.scale[:, None, None, None]).flatten(1)
        heads = coefficients @ self._tower.head_maps().kept.flatten(0, 2).to(coefficients)
        return (trace.embedding + heads + trace.mlps.sum(dim=1) + trace.bias).to(pixels.dtype)

    def confirm(self, trace: Trace, pixels: Tensor) -> None:
        """Raises `SummandError` where another pass gives another sum."""
        if self.guard is not None:
            self.guard.confirm(self, trace, pixels)

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None) -> Trace:
        if visit is not None:
            raise SummandError(
                "an ablated model can be taken apart into heads, MLPs and the rest, but not into tokens; load it "
                "without ablation= for maps"
            )
        return self._ablate(self._tower, pixels)
