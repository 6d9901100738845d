"""Norms and projections as linear maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SummandError
from .base import working
from .effective import LinearMap, seen_through
from .probe import named, remedy
from .widened import Widened


class Projection:
    """Linear maps one after another, v ↦ v P + s, read as `LinearMap` does. No map at all is the identity.

    maps: gives each map as (weight [in, out], bias [out] or None).
    """

    def __init__(self, maps: Callable[[], list[tuple[Tensor, Tensor | None]]]) -> None:
        self._maps, self._wide = maps, Widened()

    @classmethod
    def of(cls, *modules: Callable[[], Any]) -> Projection:
        """From what gives modules that are linear maps; None and identities are passed over."""
        kept: dict[int, LinearMap] = {}

        def maps() -> list[tuple[Tensor, Tensor | None]]:
            found = []
            for place, module in enumerate(module() for module in modules):
                if module is None or isinstance(seen_through(module), nn.Identity):
                    continue
                if place not in kept or kept[place].layer is not module:
                    kept[place] = LinearMap(module, "its projection")
                found.append((kept[place].weight.T, kept[place].bias))
            return found

        return cls(maps)

    def parameters(self) -> list[Tensor]:
        return [weight for weight, _ in self._maps()]

    def size(self, width: int) -> int:
        """Length of the result for vectors of length `width`."""
        return self._maps()[-1][0].shape[1] if self._maps() else width

    def __call__(self, vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch embed"]:
        """v P, without the biases."""
        for weight, _ in self._widened():
            vectors = vectors @ weight
        return vectors

    def _widened(self) -> list[tuple[Tensor, Tensor | None]]:
        """The maps in working precision."""
        wide = self._wide
        return [(wide(f"{i}", weight), wide.of(f"{i} bias", bias)) for i, (weight, bias) in enumerate(self._maps())]

    def matrix(self, like: Float[Tensor, "*any width"]) -> Float[Tensor, "width embed"]:
        maps = [weight for weight, _ in self._widened()]
        if not maps:
            return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
        matrix = maps[0]
        for weight in maps[1:]:
            matrix = matrix @ weight
        return matrix

    def shift(self, like: Float[Tensor, "*any width"]) -> Float[Tensor, " embed"]:
        """s, the biases through the maps behind them."""
        total: Tensor | None = None
        for weight, bias in self._widened():
            total = None if total is None else total @ weight
            if bias is not None:
                total = bias if total is None else total + bias
        return like.new_zeros(self.size(like.shape[-1])) if total is None else total


def optional_norm(norm: nn.Module | None, where: str) -> nn.LayerNorm | None:
    """A LayerNorm, or None for no norm at all; any other norm is refused."""
    norm = seen_through(norm)
    if norm is None or isinstance(norm, nn.Identity):
        return None
    if not isinstance(norm, nn.LayerNorm):
        raise SummandError(f"{where} is a {named(norm)}; only LayerNorm is read{remedy(norm)}")
    return norm


def normed(norm: Any, vectors: Tensor) -> Tensor:
    """The norm in working precision; None is no norm."""
    if norm is None or isinstance(norm, nn.Identity):
        return vectors
    if not isinstance(norm, nn.LayerNorm):
        return norm(vectors)
    gain, shift = (None if p is None else working(p) for p in (norm.weight, norm.bias))
    return F.layer_norm(vectors, norm.normalized_shape, gain, shift, norm.eps)


def inverse_deviation(norm: Any, vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch"]:
    """1/σ of a LayerNorm, in working precision."""
    if not (vectors.requires_grad and torch.is_grad_enabled()):  # in one step
        vectors = vectors if vectors.is_cuda else working(vectors)  # a GPU's statistics of halves are fp32
        return torch.native_layer_norm(vectors, vectors.shape[-1:], None, None, norm.eps)[2].squeeze(-1)
    deviation = vectors - vectors.mean(dim=-1, keepdim=True)
    return (deviation.square().mean(dim=-1) + norm.eps).rsqrt()


def fold_norm(
    norm: Any, following: Float[Tensor, "width embed"], gain: Float[Tensor, " width"] | None = None
) -> Float[Tensor, "width embed"]:
    """F = (I − 11ᵀ/D) diag(γ) P: a LayerNorm at unit σ and the linear map behind it as one linear map. gain: γ in
    working precision where that is kept."""
    if gain is None and norm.weight is not None:
        gain = working(norm.weight)
    folded = following if gain is None else gain[:, None] * following
    return folded - folded.mean(dim=0, keepdim=True)
