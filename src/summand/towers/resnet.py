"""open_clip's ModifiedResNet with the attention pool (paper B)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .base import Tower
from .linear import Projection
from .pool import MeanTokenPool, PoolTower


def resnet_tower(visual: nn.Module, encode: Callable[[Tensor], Tensor]) -> Tower:
    """M(x) = Σ_h W_O^h Σ_i a_i^h v_i^h + b_O, with the mean token's query: heads and a constant, nothing else."""
    v: Any = visual
    size = v.image_size
    side = round((len(v.attnpool.positional_embedding) - 1) ** 0.5)
    return PoolTower(
        visual,
        v.attnpool,
        MeanTokenPool(v.attnpool),
        kind="ModifiedResNet",
        encode=encode,
        projection=Projection(list),
        image_size=tuple(size) if isinstance(size, (tuple, list)) else (size, size),
        grid=(side, side),
        prefix=1,
    )
