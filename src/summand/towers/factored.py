"""Directions as two factors, of which the product is never built at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from .directions import Directions, copy_of
from .precision import as_written, doubled, promoted

_AT_ONCE = 1 << 24  # numbers of a factored tensor that are built at the same time


class Factored(Directions):
    r"""B[*unit, path, embed] = Σ_channel left[*unit, path, channel] · right[*last, channel, embed].

    `right` is shared: `last` are the last of the axes (*unit, path). A neuron's direction passes through the channels
    of a later head, left [neuron, path, channel] and right [path, channel, embed]; a neuron–head pair's through those
    of its head, left [neuron, head, 1, channel] and right [head, 1, channel, embed].
    """

    def __init__(self, left: Float[Tensor, "*unit path channel"], right: Float[Tensor, "*last channel embed"]) -> None:
        self._left, self._right = left, right
        shared = right.ndim - 2
        fits = 1 <= shared <= left.ndim - 1 and left.shape[-1 - shared : -1] == right.shape[:shared]
        if not fits or left.shape[-1] != right.shape[-2]:
            raise SummandError(
                f"left [*unit, path, channel] and right [*last, channel, embed] must agree, where `last` are the last "
                f"of (*unit, path); got {list(left.shape)} and {list(right.shape)}"
            )
        self.shape = (*left.shape[:-1], right.shape[-1])
        self._shared = shared

    @property
    def left(self) -> Float[Tensor, "*unit path channel"]:
        return copy_of(self._left)

    @property
    def right(self) -> Float[Tensor, "*last channel embed"]:
        return copy_of(self._right)

    def _through(self, left: Tensor, matrices: Float[Tensor, "*last channel out"]) -> Tensor:
        """left times a matrix for each of `last`, as one batched product in which `right` is never repeated."""
        last, channels = matrices.shape[:-2], left.shape[-1]
        flat = left.reshape(-1, matrices[..., 0, 0].numel(), channels).transpose(0, 1)
        found = torch.bmm(flat, matrices.reshape(-1, *matrices.shape[-2:])).transpose(0, 1)
        return found.reshape(*left.shape[: left.ndim - 1 - len(last)], *last, matrices.shape[-1])

    def _blocks(self) -> Iterator[tuple[slice, Float[Tensor, "some *rest"]]]:
        """The dense tensor in slices along the first axis."""
        first = self.shape[0]
        each = max(1, int(_AT_ONCE // max(1, self._left[0].numel() // self._left.shape[-1] * self.shape[-1])))
        for start in range(0, first, each):
            some = slice(start, start + each)
            right = self._right[some] if self._shared == len(self.shape) - 1 else self._right
            yield some, self._through(self._left[some], right)

    def dense(self) -> Float[Tensor, "*unit path embed"]:
        return self._whole()  # multiplied out anew

    @as_written
    def _whole(self) -> Float[Tensor, "*unit path embed"]:
        return self._through(self._left, self._right)

    def _squared(self) -> Tensor:
        if self.shape[-2] == 1:  # one path: ‖B‖² in the channels' space, cheaper than any row of B
            inner = self._right @ self._right.transpose(-1, -2)
            return (self._through(self._left, inner) * self._left).sum(dim=-1)[..., None]
        return torch.cat([block @ block.transpose(-1, -2) for _, block in self._blocks()])

    @as_written
    def combine(self, weights: Float[Tensor, "*batch path"]) -> Float[Tensor, "*batch embed"]:
        ahead = weights.shape[: weights.ndim + 1 - len(self.shape)]
        weights = weights.reshape(-1, *self.shape[:-1])
        blocks = [
            torch.einsum("i...p,...pe->i...e", *promoted(weights[:, some], block)) for some, block in self._blocks()
        ]
        found = torch.cat(blocks, dim=1) if len(self.shape) > 2 else torch.stack(blocks).sum(dim=0)
        return found.reshape(*ahead, *found.shape[1:])

    @as_written
    def total(self, weights: Float[Tensor, "image *unit path"]) -> Float[Tensor, "image embed"]:
        last = self._right[..., 0, 0].numel()
        left = self._left.reshape(-1, last, self._left.shape[-1]).to(weights)
        through = torch.einsum("inp,npc->ipc", weights.reshape(weights.shape[0], -1, last), left)
        return through.flatten(1) @ self._right.flatten(0, -2).to(weights)

    @as_written
    def toward(self, targets: Float[Tensor, "target embed"]) -> Float[Tensor, "*unit path target"]:
        return self._through(self._left, self._right @ targets.to(self._right).T)

    def select(self, index: Any) -> Factored:
        return Factored(self._left[index], self._right[index] if self._shared == len(self.shape) - 1 else self._right)

    def fold(self) -> Factored:
        right = self._right
        if self._shared == 1:
            right = right.expand(self.shape[-3], *right.shape)
        return Factored(self._left.flatten(-3, -2), right.flatten(-4, -3))

    def double(self) -> Factored:
        return self if self._left.dtype == torch.float64 else Factored(doubled(self._left), doubled(self._right))

    def to(self, device: torch.device | str) -> Factored:
        return Factored(self._left.to(device), self._right.to(device))

    def _held(self) -> tuple[Tensor, ...]:
        return self._left, self._right
