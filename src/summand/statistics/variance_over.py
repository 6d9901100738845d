"""How much units vary along many directions together."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..towers.precision import doubled
from .moments import Moments

_AT_ONCE = 1 << 23
"""Numbers that are held at the same time, 64 MB: of every unit, path and direction they would fill the memory."""


def variance_over(moments: Moments, directions: Float[Tensor, "direction embed"]) -> Float[Tensor, "unit *units"]:
    r"""Σ_t Var⟨effect, t⟩ of every unit over directions t.

    They enter by Σ_t t tᵀ = RᵀR alone (QR), so no more of them are looked at than the embedding has dimensions; a block
    of units at a time.
    """
    rows = torch.linalg.qr(doubled(directions), mode="r").R
    shape = moments.mean.shape
    step = max(1, _AT_ONCE // max(1, math.prod(shape[1:]) * len(rows)))
    blocks = [slice(start, start + step) for start in range(0, shape[0], step)]
    return torch.cat([moments.select(block).variance_along(rows).sum(dim=-1) for block in blocks])
