"""open_clip's VisionTransformer: class token, average or attentional pooling, standard and custom blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import SummandError
from .base import Tower
from .linear import Projection
from .pool import LatentPool, PoolTower
from .residual import ResidualTower


def vision_transformer_tower(visual: nn.Module, encode: Callable[[Tensor], Tensor]) -> Tower:
    """A VisionTransformer of open_clip as a sum. CoCa's attentional pooler writes to the output alone."""
    v: Any = visual
    if v.proj is None:
        raise SummandError("it has no output projection, so it is not a CLIP tower")
    size, projection = v.image_size, Projection(lambda: [(v.proj, None)])
    shape = {
        "image_size": tuple(size) if isinstance(size, (tuple, list)) else (size, size),
        "grid": tuple(v.grid_size),
        "prefix": 1,
    }
    if getattr(v, "attn_pool", None) is not None:
        if getattr(v, "attn_pool_contrastive", None) is not None:
            raise SummandError(
                f"attentional_pool={v.attn_pool_type!r} is unfinished in open_clip: it returns one vector per query"
            )
        _check_pool(v.pool_type)
        pool = LatentPool(v.attn_pool.attn, lambda: v.attn_pool.ln_q(v.attn_pool.query), v.attn_pool.ln_k, v.pool_type)
        return PoolTower(
            *(visual, v.attn_pool, pool),
            kind="VisionTransformer with attentional pooler",
            encode=encode,
            norm=v.ln_post,
            projection=projection,
            **shape,
        )
    _check_pool(v.pool_type)
    return ResidualTower(
        visual,
        kind="VisionTransformer",
        encode=encode,
        blocks=list(v.transformer.resblocks),
        norm=v.ln_post,
        projection=projection,
        pool=v.pool_type,
        norm_first=not getattr(v, "final_ln_after_pool", False),
        pooled_from=1,
        **shape,
    )


def _check_pool(pool: str) -> None:
    if pool not in ("tok", "avg"):
        raise SummandError(f"pool_type={pool!r} does not give one vector per image (only 'tok' and 'avg' do)")
