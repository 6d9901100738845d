"""Rules of layer-wise relevance propagation: what an operation's inputs receive of the relevance of its output."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Rule = Literal["positive", "epsilon"]
_EPSILON = 1e-9


def divided(relevance: Tensor, output: Tensor) -> Tensor:
    """R / z with |z| kept away from zero; no relevance goes where z is zero."""
    size = torch.where(output < 0, output - _EPSILON, output + _EPSILON)
    return torch.where(output == 0, torch.zeros_like(relevance), relevance / size)


def of_linear(
    inputs: Float[Tensor, "*batch inside"],
    weight: Float[Tensor, "outside inside"],
    relevance: Float[Tensor, "text *batch outside"],
    rule: Rule,
) -> Float[Tensor, "text *batch inside"]:
    r"""R_j = Σ_i x_j w_ij / Σ_j' x_j' w_ij' R_i; rule="positive": sums over products that are positive only (α1β0).

    Montavon et al. 2017; Chefer et al. 2021a, Eq. 4. Biases receive nothing, so the sum of relevance is conserved.
    """
    if rule == "epsilon":
        return inputs * (divided(relevance, inputs @ weight.T) @ weight)
    up, down, up_weight, down_weight = (
        inputs.clamp(min=0),
        inputs.clamp(max=0),
        weight.clamp(min=0),
        weight.clamp(max=0),
    )
    share = divided(relevance, up @ up_weight.T + down @ down_weight.T)
    return up * (share @ up_weight) + down * (share @ down_weight)


def of_product(
    left: Float[Tensor, "*batch a b"], right: Float[Tensor, "*batch b c"], relevance: Float[Tensor, "text *batch a c"]
) -> tuple[Float[Tensor, "text *batch a b"], Float[Tensor, "text *batch b c"]]:
    """Of a matrix product, half to each factor (Chefer et al. 2021a, Eq. 6 and 8): R_u = u ⊙ ∂z/∂u (R/z) / 2."""
    share = divided(relevance, left @ right)
    return left * (share @ right.transpose(-1, -2)) / 2, right * (left.transpose(-1, -2) @ share) / 2


def of_sum(
    left: Float[Tensor, "image token width"],
    right: Float[Tensor, "image token width"],
    relevance: Float[Tensor, "text image token width"],
    rule: Rule,
) -> tuple[Float[Tensor, "text image token width"], Float[Tensor, "text image token width"]]:
    r"""R_u = u/(u + v) R; for rule="positive" rescaled, R_u ← R_u |ΣR_u|/(|ΣR_u| + |ΣR_v|) ΣR/ΣR_u (2021a, Eq. 8).

    The two parts of u + v may be large and of opposite sign; the rescaling keeps their sums, per image, below ΣR.
    """
    share = divided(relevance, left + right)
    first, second = left * share, right * share
    if rule == "epsilon":
        return first, second
    whole, a, b = (part.sum(dim=(-1, -2), keepdim=True) for part in (relevance, first, second))
    size = divided(whole, a.abs() + b.abs())
    return first * a.sign() * size, second * b.sign() * size
