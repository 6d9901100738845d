"""Fixed directions, [*unit, path, embed], held whole or as two factors of which the product is never built at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SummandError

_AT_ONCE = 1 << 24  # numbers of a factored tensor that are built at the same time


class Directions:
    """What `Effects` and `Moments` ask of directions B, [*unit, path, embed]: `Whole` or `Factored`."""

    shape: tuple[int, ...]

    @staticmethod
    def of(directions: Tensor | Directions) -> Directions:
        return directions if isinstance(directions, Directions) else Whole(directions)

    @cached_property
    def gram(self) -> Float[Tensor, "*unit path path2"]:
        """G = B Bᵀ of each unit: norms and angles without leaving path space."""
        return self._gram()

    def _gram(self) -> Tensor:
        raise NotImplementedError

    def dense(self) -> Float[Tensor, "*unit path embed"]:
        """The whole tensor."""
        raise NotImplementedError

    def combine(self, weights: Float[Tensor, "*batch path"]) -> Float[Tensor, "*batch embed"]:
        """Σ_path weights[..., *unit, path] · B[*unit, path]; axes before the units are kept."""
        raise NotImplementedError

    def total(self, weights: Float[Tensor, "image *unit path"]) -> Float[Tensor, "image embed"]:
        """Σ_unit Σ_path weights · B: the sum over all units, without building any unit's own vector."""
        raise NotImplementedError

    def toward(self, targets: Float[Tensor, "target embed"]) -> Float[Tensor, "*unit path target"]:
        """⟨B, target⟩."""
        raise NotImplementedError

    def select(self, index: Any) -> Directions:
        """Some units, chosen along the first unit axis."""
        raise NotImplementedError

    def fold(self) -> Directions:
        """The last unit axis counted as paths of the units before it."""
        raise NotImplementedError

    def double(self) -> Directions:
        raise NotImplementedError

    def to(self, device: torch.device | str) -> Directions:
        """The same directions on another device."""
        raise NotImplementedError

    def factors(self) -> tuple[Tensor, ...]:
        """What is held and saved: (B,), to be expanded to `shape`, or (left, right)."""
        raise NotImplementedError

    def same(self, other: Directions) -> bool:
        """Whether these are the same numbers, up to rounding."""
        if self is other:
            return True
        mine, theirs = self.factors(), other.factors()
        return (
            self.shape == other.shape
            and len(mine) == len(theirs)
            and all(
                a.shape == b.shape and torch.allclose(a, b.to(a), rtol=1e-4, atol=1e-6)
                for a, b in zip(mine, theirs, strict=True)
            )
        )


class Whole(Directions):
    """Directions as one tensor [*unit, path, embed]. Where it is expanded along a unit axis (a head's directions are
    those of each of its tokens), it stays so."""

    def __init__(self, directions: Float[Tensor, "*unit path embed"]) -> None:
        self._directions = directions
        self.shape = tuple(directions.shape)

    def _narrow(self) -> Tensor:
        """Without the repetitions."""
        narrow = self._directions
        for axis in range(narrow.ndim - 2):
            if narrow.stride(axis) == 0 and narrow.shape[axis] > 1:
                narrow = narrow.narrow(axis, 0, 1)
        return narrow

    def _gram(self) -> Tensor:
        narrow = self._narrow()
        return (narrow @ narrow.transpose(-1, -2)).expand(*self.shape[:-1], self.shape[-2])

    def dense(self) -> Float[Tensor, "*unit path embed"]:
        return self._directions

    def combine(self, weights: Float[Tensor, "*batch path"]) -> Float[Tensor, "*batch embed"]:
        ahead = weights.shape[: weights.ndim + 1 - len(self.shape)]
        found = torch.einsum("i...p,...pe->i...e", weights.reshape(-1, *self.shape[:-1]), self._directions)
        return found.reshape(*ahead, *found.shape[1:])

    def total(self, weights: Float[Tensor, "image *unit path"]) -> Float[Tensor, "image embed"]:
        return weights.flatten(1) @ self._directions.flatten(0, -2).to(weights)

    def toward(self, targets: Float[Tensor, "target embed"]) -> Float[Tensor, "*unit path target"]:
        return self._directions @ targets.to(self._directions).T

    def select(self, index: Any) -> Whole:
        return Whole(self._directions[index])

    def fold(self) -> Whole:
        return Whole(self._directions.flatten(-3, -2))

    def double(self) -> Whole:
        if self._directions.dtype == torch.float64:
            return self
        return Whole(self._narrow().double().expand(self.shape))

    def to(self, device: torch.device | str) -> Whole:
        return Whole(self._directions.to(device))

    def factors(self) -> tuple[Tensor, ...]:
        return (self._narrow(),)


class Factored(Directions):
    r"""B[*unit, path, embed] = Σ_channel left[*unit, path, channel] · right[*last, channel, embed].

    `right` is shared: `last` are the last of the axes (*unit, path). A neuron's direction passes through the channels
    of a later head, left [neuron, path, channel] and right [path, channel, embed]; a neuron–head pair's through those
    of its head, left [neuron, head, 1, channel] and right [head, 1, channel, embed].
    """

    def __init__(self, left: Float[Tensor, "*unit path channel"], right: Float[Tensor, "*last channel embed"]) -> None:
        self.left, self.right = left, right
        shared = right.ndim - 2
        fits = 1 <= shared <= left.ndim - 1 and left.shape[-1 - shared : -1] == right.shape[:shared]
        if not fits or left.shape[-1] != right.shape[-2]:
            raise SummandError(
                f"left [*unit, path, channel] and right [*last, channel, embed] must agree, where `last` are the last "
                f"of (*unit, path); got {list(left.shape)} and {list(right.shape)}"
            )
        self.shape = (*left.shape[:-1], right.shape[-1])
        self._shared = shared

    def _through(self, left: Tensor, matrices: Float[Tensor, "*last channel out"]) -> Tensor:
        """left times a matrix for each of `last`, as one batched product in which `right` is never repeated."""
        last, channels = matrices.shape[:-2], left.shape[-1]
        flat = left.reshape(-1, matrices[..., 0, 0].numel(), channels).transpose(0, 1)
        found = torch.bmm(flat, matrices.reshape(-1, *matrices.shape[-2:])).transpose(0, 1)
        return found.reshape(*left.shape[: left.ndim - 1 - len(last)], *last, matrices.shape[-1])

    def _blocks(self) -> Iterator[tuple[slice, Float[Tensor, "some *rest"]]]:
        """The dense tensor in slices along the first axis."""
        first = self.shape[0]
        each = max(1, int(_AT_ONCE // max(1, self.left[0].numel() // self.left.shape[-1] * self.shape[-1])))
        for start in range(0, first, each):
            some = slice(start, start + each)
            right = self.right[some] if self._shared == len(self.shape) - 1 else self.right
            yield some, self._through(self.left[some], right)

    def dense(self) -> Float[Tensor, "*unit path embed"]:
        return self._through(self.left, self.right)

    def _gram(self) -> Tensor:
        if self.shape[-2] == 1:  # one path: ‖B‖² in the channels' space, cheaper than any row of B
            inner = self.right @ self.right.transpose(-1, -2)
            return (self._through(self.left, inner) * self.left).sum(dim=-1)[..., None]
        return torch.cat([block @ block.transpose(-1, -2) for _, block in self._blocks()])

    def combine(self, weights: Float[Tensor, "*batch path"]) -> Float[Tensor, "*batch embed"]:
        ahead = weights.shape[: weights.ndim + 1 - len(self.shape)]
        weights = weights.reshape(-1, *self.shape[:-1])
        blocks = [torch.einsum("i...p,...pe->i...e", weights[:, some], block) for some, block in self._blocks()]
        found = torch.cat(blocks, dim=1) if len(self.shape) > 2 else torch.stack(blocks).sum(dim=0)
        return found.reshape(*ahead, *found.shape[1:])

    def total(self, weights: Float[Tensor, "image *unit path"]) -> Float[Tensor, "image embed"]:
        last = self.right[..., 0, 0].numel()
        left = self.left.reshape(-1, last, self.left.shape[-1]).to(weights)
        through = torch.einsum("inp,npc->ipc", weights.reshape(len(weights), -1, last), left)
        return through.flatten(1) @ self.right.flatten(0, -2).to(weights)

    def toward(self, targets: Float[Tensor, "target embed"]) -> Float[Tensor, "*unit path target"]:
        return self._through(self.left, self.right @ targets.to(self.right).T)

    def select(self, index: Any) -> Factored:
        return Factored(self.left[index], self.right[index] if self._shared == len(self.shape) - 1 else self.right)

    def fold(self) -> Factored:
        right = self.right
        if self._shared == 1:
            right = right.expand(self.shape[-3], *right.shape)
        return Factored(self.left.flatten(-3, -2), right.flatten(-4, -3))

    def double(self) -> Factored:
        return self if self.left.dtype == torch.float64 else Factored(self.left.double(), self.right.double())

    def to(self, device: torch.device | str) -> Factored:
        return Factored(self.left.to(device), self.right.to(device))

    def factors(self) -> tuple[Tensor, ...]:
        return self.left, self.right
