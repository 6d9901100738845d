"""VisionTransformer of open_clip and of the clip package: class token, average or attentional pooling, standard and
custom blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import SummandError
from .base import Tower
from .layout import covering, grid_of, pair
from .linear import Projection
from .pool import LatentPool, PoolTower
from .residual import ResidualTower


def vision_transformer_tower(visual: nn.Module, encode: Callable[[Tensor], Tensor]) -> Tower:
    """A VisionTransformer as a sum. CoCa's attentional pooler writes to the output alone."""
    v: Any = visual
    if v.proj is None:
        raise SummandError("it has no output projection, so it is not a CLIP tower")
    size, patch = image_size_of(v), pair(getattr(v.conv1, "base_layer", v.conv1).stride)
    shape = {"image_size": size, "grid": grid_of(size, patch), "prefix": 1}
    projection, pool_type = Projection(lambda: [(v.proj, None)]), getattr(v, "pool_type", "tok")
    if getattr(v, "attn_pool_contrastive", None) is not None:
        raise SummandError(
            f"attentional_pool={v.attn_pool_type!r} is unfinished in open_clip: it returns one vector per query"
        )
    _check_pool(pool_type)
    if getattr(v, "attn_pool", None) is not None:
        pool = LatentPool(v.attn_pool.attn, lambda: v.attn_pool.ln_q(v.attn_pool.query), v.attn_pool.ln_k, pool_type)
        tower: Tower = PoolTower(
            *(visual, v.attn_pool, pool),
            kind="VisionTransformer with attentional pooler",
            encode=encode,
            norm=v.ln_post,
            projection=projection,
            **shape,
        )
        return covering(tower, patch)
    tower = ResidualTower(
        visual,
        kind="VisionTransformer",
        encode=encode,
        blocks=list(v.transformer.resblocks),
        norm=v.ln_post,
        projection=projection,
        pool=pool_type,
        norm_first=not getattr(v, "final_ln_after_pool", False),
        pooled_from=1,
        **shape,
    )
    return covering(tower, patch)


def image_size_of(visual: Any) -> tuple[int, int]:
    """Height and width of what a tower reads: open_clip calls it image_size, OpenAI's code input_resolution."""
    size = getattr(visual, "image_size", None)
    size = getattr(visual, "input_resolution", None) if size is None else size
    if size is None:
        raise SummandError("it does not say the size of its images (image_size, or input_resolution)")
    return pair(size)


def _check_pool(pool: str) -> None:
    if pool not in ("tok", "avg"):
        raise SummandError(f"pool_type={pool!r} does not give one vector per image (only 'tok' and 'avg' do)")
