"""ModifiedResNet of open_clip and of the clip package, with the attention pool (paper B)."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

from torch import Tensor, nn

from ..errors import SummandError
from .base import Tower
from .layout import covering, grid_of
from .linear import Projection
from .pool import MeanTokenPool, PoolTower
from .vit import image_size_of

STRIDE = 32
"""Pixels of one column of the last layer's grid."""


def resnet_tower(visual: nn.Module, encode: Callable[[Tensor], Tensor]) -> Tower:
    """M(x) = Σ_h W_O^h Σ_i a_i^h v_i^h + b_O, with the mean token's query: heads and a constant, nothing else."""
    v: Any = visual
    size, side = image_size_of(v), isqrt(len(v.attnpool.positional_embedding) - 1)
    if grid_of(size, (STRIDE, STRIDE)) != (side, side):
        raise SummandError(
            f"its attention pool has positions for {side} × {side} columns of {STRIDE} pixels, its images are "
            f"{size[0]} × {size[1]}"
        )
    tower = PoolTower(
        visual,
        v.attnpool,
        MeanTokenPool(v.attnpool),
        kind="ModifiedResNet",
        encode=encode,
        projection=Projection(list),
        image_size=size,
        grid=(side, side),
        prefix=1,
    )
    return covering(tower, (STRIDE, STRIDE))
