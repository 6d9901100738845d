"""timm trunks inside open_clip's TimmModel: ViT, SigLIP, EVA and EVA-02, PE, ViTamin, relative positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import SummandError
from .base import Tower
from .border import foreign
from .effective import seen_through
from .layout import covering, pair
from .linear import Projection
from .pool import LatentPool, PoolTower
from .residual import ResidualTower

_TRANSFORMERS = ("VisionTransformer", "Eva", "VisionTransformerRelPos")
REASONS = {
    "ConvNeXt": "it has no attention: its output is the mean of convolutional features",
    "FastVit": "it ends in convolutions and a squeeze-and-excitation head, which are not a sum over tokens",
    "SwinTransformer": "patch merging between its stages mixes tokens, so early layers have no path of their own",
    "NaFlexVit": "it reads images as patch dictionaries of varying size, not as pixels",
}


def timm_tower(visual: nn.Module, encode: Callable[[Tensor], Tensor]) -> Tower:
    """A timm trunk and open_clip's linear head as a sum."""
    trunk: Any = seen_through(visual.trunk)
    name = type(trunk).__name__
    if name not in _TRANSFORMERS:
        raise SummandError(REASONS.get(name, "it is not a plain transformer on one grid of tokens"))
    head = _linear_head(visual)
    shape = {
        "image_size": tuple(trunk.patch_embed.img_size),
        "grid": tuple(trunk.patch_embed.grid_size),
        "kind": f"timm {name}",
        "encode": encode,
    }
    if getattr(trunk, "attn_pool", None) is not None:
        return covering(_pooled_by_attention(visual, head, shape), _patch(trunk))
    pool = {"token": "tok"}.get(trunk.global_pool, trunk.global_pool)
    if pool not in ("tok", "avg"):
        raise SummandError(f"its pooling {trunk.global_pool!r} is not linear in the tokens")
    before, after = _present(trunk.norm), _present(trunk.fc_norm)
    if before is not None and after is not None:
        raise SummandError("it normalises twice, before and after pooling")
    tower = ResidualTower(
        visual,
        blocks=list(seen_through(trunk.blocks)),
        norm=before if after is None else after,
        projection=head,
        pool=pool,
        norm_first=after is None,
        pooled_from=0 if getattr(trunk, "pool_include_prefix", False) else trunk.num_prefix_tokens,
        prefix=trunk.num_prefix_tokens,
        **shape,
    )
    return covering(tower, _patch(trunk))


def _patch(trunk: Any) -> tuple[int, int]:
    """Pixels of one patch, a convolutional stem's stride included."""
    return pair(trunk.patch_embed.feat_ratio(as_scalar=False))


def _pooled_by_attention(visual: nn.Module, head: Projection, shape: dict[str, Any]) -> Tower:
    trunk: Any = seen_through(visual.trunk)
    pool = seen_through(trunk.attn_pool)
    kind = type(pool).__name__
    if kind != "AttentionPoolLatent" or pool.latent_len != 1:
        raise SummandError(f"its attention pool ({kind}) has no single learned query")
    # timm's ViT pools the grid alone, its Eva (PE) the class token too.
    all_tokens = type(trunk).__name__ == "Eva" or getattr(trunk, "pool_include_prefix", False)
    return PoolTower(
        visual,
        pool,
        LatentPool(pool, lambda: pool.latent[0], position=lambda: pool.pos_embed),
        mlp=None if pool.mlp is None else lambda vectors: pool.mlp(pool.norm(vectors)),
        norm=_present(trunk.fc_norm),
        projection=head,
        prefix=trunk.num_prefix_tokens if all_tokens else 0,
        **shape,
    )


def _linear_head(visual: nn.Module) -> Projection:
    """The trunk's classifier and open_clip's projection as one linear map; anything else is refused."""
    for name, module in seen_through(visual.head).named_children():
        if name == "mlp":
            raise SummandError("its projection head is an MLP, which is not linear in the tower's terms")
        if name not in ("drop", "proj"):
            raise SummandError(f"its head has a {type(module).__name__} behind the trunk, which is not linear")
    return Projection.of(lambda: foreign(visual).trunk.head, lambda: getattr(visual.head, "proj", None))


def _present(norm: nn.Module | None) -> nn.Module | None:
    return None if norm is None or isinstance(seen_through(norm), nn.Identity) else norm
