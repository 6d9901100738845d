"""Images that go through a model together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ..effects.direct import Parts
from ..effects.effects import Effects
from ..models import Model
from .units import Group, effects_of


class Batch:
    """Images that go through the model together. What is made of them is made when it is asked for, and once.

    indices: each image's number in its source. pixels: as the model takes them.
    """

    def __init__(self, model: Model, indices: Sequence[int], pixels: Tensor, groups: Sequence[Group] = ()) -> None:
        self.model, self.indices, self.pixels, self.groups = model, list(indices), pixels, tuple(groups)

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def _made(self) -> tuple[dict[Group, Effects], Parts]:
        return effects_of(self.groups, self.model, self.pixels)

    def effects(self, group: Group) -> Effects:
        """Of one of the groups that the pass is about; all groups share one forward pass."""
        return self._made[0][group]

    @property
    def parts(self) -> Parts:
        return self._made[1]

    @cached_property
    def outputs(self) -> Float[Tensor, "image embed"]:
        """M(x), as the sum of all terms."""
        return self.parts.total()

    @cached_property
    def norms(self) -> Float[Tensor, " image"]:
        """‖M(x)‖."""
        return self.outputs.double().norm(dim=1)

    @cached_property
    def embeddings(self) -> Float[Tensor, "image embed"]:
        """M(x) / ‖M(x)‖, in fp64."""
        return self.outputs.double() / self.norms[:, None].clamp(min=torch.finfo(torch.float64).tiny)
