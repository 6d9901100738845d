"""Fixed directions, [*unit, path, embed]: what is asked of them, and the whole tensor of them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .finite import all_finite
from .precision import as_written, doubled, promoted


class Directions:
    """What `Effects` and `Moments` ask of directions B, [*unit, path, embed]: `Whole` or `Factored`.

    The same tensors may serve every later decomposition of a model, so what is handed out (`dense`, `gram`, `factors`,
    and a `Factored` one's `left` and `right`) is a copy.
    """

    shape: tuple[int, ...]
    _kept_gram: tuple[Any, Tensor] | None = None
    _kept_finite: tuple[Any, bool] | None = None

    @staticmethod
    def of(directions: Tensor | Directions) -> Directions:
        return directions if isinstance(directions, Directions) else Whole(directions)

    @property
    def device(self) -> torch.device:
        return self._held()[0].device

    @property
    def gram(self) -> Float[Tensor, "*unit path path2"]:
        """G = B Bᵀ of each unit: norms and angles without leaving path space."""
        return copy_of(self._gram())

    @as_written
    def _gram(self) -> Float[Tensor, "*unit path path2"]:
        """The same, worked out once; to be read and never changed."""
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self._held()):
            return self._squared()
        if self._kept_gram is None or self._kept_gram[0] != self._state():
            with torch.inference_mode(False), torch.no_grad():  # kept for a caller with gradients too
                self._kept_gram = (self._state(), self._squared())
        return self._kept_gram[1]

    def _squared(self) -> Tensor:
        raise NotImplementedError

    def finite(self) -> bool:
        """Whether none of the numbers is NaN or infinite; looked at once."""
        if self._kept_finite is None or self._kept_finite[0] != self._state():
            self._kept_finite = (self._state(), all(all_finite(tensor) for tensor in self._held()))
        return self._kept_finite[1]

    def _state(self) -> tuple[Any, ...]:
        """Changes where somebody writes to a tensor that he handed over."""
        return tuple(None if tensor.is_inference() else tensor._version for tensor in self._held())

    def dense(self) -> Float[Tensor, "*unit path embed"]:
        """The whole tensor."""
        return copy_of(self._whole())

    def _whole(self) -> Float[Tensor, "*unit path embed"]:
        """The same, to be read and never changed."""
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
        return tuple(copy_of(tensor) for tensor in self._held())

    def _held(self) -> tuple[Tensor, ...]:
        """The same, to be read and never changed."""
        raise NotImplementedError

    def same(self, other: Directions) -> bool:
        """Whether these are the same numbers, up to rounding (`alike`)."""
        if self is other:
            return True
        mine, theirs = self._held(), other._held()
        return (
            self.shape == other.shape
            and len(mine) == len(theirs)
            and all(a is b or alike(a, b.to(a.device)) for a, b in zip(mine, theirs, strict=True))
        )


@torch.no_grad()
def alike(one: Float[Tensor, "*unit path embed"], other: Float[Tensor, "*shape"], relative: float = 1e-4) -> bool:
    """‖b − b'‖ ≤ relative · ‖b‖ for every row b, up to the rounding of the largest row of its matrix.

    Sizes are relative: the directions of two models may both be tiny (LayerScale begins at 1e-6) and have nothing in
    common. relative: 1e-4 for what was worked out twice from the same weights, more where one was rounded.
    """
    if one.shape != other.shape:
        return False
    one, other = promoted(one, other)
    size = torch.maximum(one.norm(dim=-1), other.norm(dim=-1))
    rounding = relative * 1e-2 * size.amax(dim=-1, keepdim=True)
    return bool(((one - other).norm(dim=-1) <= relative * size + rounding).all())


def copy_of(tensor: Tensor) -> Tensor:
    """A copy; where it is expanded along an axis it stays so."""
    narrow = _narrow(tensor)
    return narrow.clone().expand(tensor.shape)


def _narrow(tensor: Tensor) -> Tensor:
    """Without the repetitions along the axes of units."""
    for axis in range(tensor.ndim - 2):
        if tensor.stride(axis) == 0 and tensor.shape[axis] > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


class Whole(Directions):
    """Directions as one tensor [*unit, path, embed]. Where it is expanded along a unit axis (a head's directions are
    those of each of its tokens), it stays so."""

    def __init__(self, directions: Float[Tensor, "*unit path embed"]) -> None:
        self._directions = directions
        self.shape = tuple(directions.shape)

    def _squared(self) -> Tensor:
        narrow = _narrow(self._directions)
        return (narrow @ narrow.transpose(-1, -2)).expand(*self.shape[:-1], self.shape[-2])

    def _whole(self) -> Float[Tensor, "*unit path embed"]:
        return self._directions

    @as_written
    def combine(self, weights: Float[Tensor, "*batch path"]) -> Float[Tensor, "*batch embed"]:
        ahead = weights.shape[: weights.ndim + 1 - len(self.shape)]
        weights, whole = promoted(weights.reshape(-1, *self.shape[:-1]), self._directions)
        found = torch.einsum("i...p,...pe->i...e", weights, whole)
        return found.reshape(*ahead, *found.shape[1:])

    @as_written
    def total(self, weights: Float[Tensor, "image *unit path"]) -> Float[Tensor, "image embed"]:
        return weights.flatten(1) @ self._directions.flatten(0, -2).to(weights)

    @as_written
    def toward(self, targets: Float[Tensor, "target embed"]) -> Float[Tensor, "*unit path target"]:
        return self._directions @ targets.to(self._directions).T

    def select(self, index: Any) -> Whole:
        return Whole(self._directions[index])

    def fold(self) -> Whole:
        return Whole(self._directions.flatten(-3, -2))

    def double(self) -> Whole:
        if self._directions.dtype == torch.float64:
            return self
        return Whole(doubled(_narrow(self._directions)).expand(self.shape))

    def to(self, device: torch.device | str) -> Whole:
        return Whole(self._directions.to(device))

    def _held(self) -> tuple[Tensor, ...]:
        return (_narrow(self._directions),)
