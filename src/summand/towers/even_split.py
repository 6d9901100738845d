"""Paper C's own way of dealing out the constants (A.1), as its code does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from .base import Rest, Shares, Trace, working

if TYPE_CHECKING:
    from .residual import ResidualTower


def evenly_split(
    tower: ResidualTower,
    values: Float[Tensor, "image layer head channel"],
    start: Float[Tensor, "image width"],
    written: Float[Tensor, "image layer width"],
    pooled: Float[Tensor, "image width"],
    scale: Float[Tensor, " image"],
    pooling: Float[Tensor, "image query"] | None,
) -> Trace:
    """L attention terms, L MLPs and the embedding each take 1/(2L + 1) of −μ γ/σ + β; a layer's attention passes its
    part and its output bias on to its heads, and they to their tokens, evenly.

    start: the class token that enters; written: what the MLPs add to it; pooled: the one that leaves.
    """
    folded = tower.folded()
    parts, one = 2 * tower.layers + 1, scale.new_ones(1)
    mean = pooled.mean(dim=-1)
    gain = folded.sum(dim=0)  # 1ᵀ diag(γ) P
    shift = torch.zeros_like(gain) if tower.norm.bias is None else tower.projection(working(tower.norm.bias))
    biases = torch.cat([block.constant(one, one) for block in tower.blocks]) @ folded
    each = torch.stack([biases, (gain / parts).expand_as(biases), (shift / parts).expand_as(biases)], dim=1)
    share = ((-mean * scale)[:, None] * gain + shift) / parts
    rest = Rest(
        embedding=(start @ folded) * scale[:, None] + share,
        mlps=(written @ folded) * scale[:, None, None] + share[:, None],
        bias=tower.projection.shift(pooled).expand(pooled.shape[0], -1),
    )
    shares = Shares(torch.stack([scale, -mean * scale, torch.ones_like(scale)], dim=1), each / tower.heads)
    return Trace(values, scale, lambda: rest, shares, pooling)
