"""The trace of a pass over a residual stream: terms in the width of the stream, brought to the embedding space when
they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from .base import Rest, Trace
from .linear import inverse_deviation
from .products import HALVES

if TYPE_CHECKING:
    from .residual import ResidualTower

Values = Tensor | Callable[[], Tensor]
"""Σ_i a_i v_i, [image, layer, head, channel], or what makes it."""

Mass = tuple[Tensor, Tensor] | None
"""What a layer's constants are multiplied with, Σ_q w_q / σ_q^out, [image], and w, [image, query]; None: ones, of a
layer that is read plainly."""


def made(values: Values) -> Float[Tensor, "image layer head channel"]:
    return values if isinstance(values, Tensor) else values()


def together_made(parts: list[Values]) -> Values:
    """The values of some layers and of those behind them; made when they are asked for, where one of them is."""
    return partial(_side_by_side, parts) if any(map(callable, parts)) else _side_by_side(parts)


def _side_by_side(parts: list[Values]) -> Float[Tensor, "image layer head channel"]:
    each = [made(part) for part in parts]
    return each[0] if len(each) == 1 else torch.cat(each, dim=1)


def scale_of(tower: ResidualTower, end: Float[Tensor, "image width"], scaled: bool) -> Float[Tensor, " image"]:
    """1/σ of the final norm; ones where there is none, or where it is in the weights already (`scaled`)."""
    if tower.norm is None or scaled:
        return end.new_ones(end.shape[0])
    return inverse_deviation(tower.norm, end)


def traced(
    tower: ResidualTower,
    values: Values,
    scale: Float[Tensor, " image"],
    end: Float[Tensor, "image width"],
    masses: Sequence[Mass],
    pooling: Float[Tensor, "image query"],
    others: Callable[[], tuple[Tensor, Tensor]],
) -> Trace:
    """end: the pooled token that leaves the last block; masses: of all layers; others: the token that enters,
    and what the MLPs add."""
    settled = all(mass is None for mass in masses) and not tower.always_checked
    constant = tower.constant if settled else partial(_constant, tower, masses, scale)

    def rest() -> Rest:
        start, written = others()
        vectors = (torch.cat([start[:, None], written], dim=1) @ tower.folded()) * scale[:, None, None]
        bias, shift = constant() * scale[:, None], tower.norm_shift()
        bias = (bias if shift is None else bias + shift) + tower.projection.shift(end)
        return Rest(embedding=vectors[:, 0], mlps=vectors[:, 1:], bias=bias)

    def streamed(rest: Rest) -> Tensor:
        whole = (end @ tower.folded() - constant()) * scale[:, None]
        return whole - rest.embedding - rest.mlps.sum(dim=1)

    rounded = tower.dtype in HALVES or torch.is_autocast_enabled(scale.device.type)
    return Trace(values, scale, rest, pooling=pooling, streamed=streamed if settled and not rounded else None)


def _constant(tower: ResidualTower, masses: Sequence[Mass], scale: Tensor) -> Float[Tensor, "one_or_image embed"]:
    """What all layers' output biases add, at unit σ, as the pooled query meets them."""
    one = scale.new_ones(1)
    each = [
        block.constant(one, one) if mass is None else block.constant(mass[0], mass[1].sum(dim=1))
        for block, mass in zip(tower.blocks, masses, strict=True)
    ]
    return sum(each[1:], each[0]) @ tower.folded()
