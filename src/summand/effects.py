"""Effects: a small set of numbers for each image times fixed directions that come from the weights alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SummandError


@dataclass(frozen=True)
class Effects:
    r"""effect[image, unit, embed] = Σ_path coefficients[image, unit, path] · directions[unit, path, embed]

    The factors are kept; the product is built only by `vectors()`. A unit is whatever is studied: a head (one path
    per value channel), a neuron (one path per later head), a neuron–head pair (a single path).

    coefficients: [image, *unit, path]. directions: [*unit, path, embed]. units, paths: the names of the axes, such as
    ("layer", "head") and ("channel",).
    """

    coefficients: Float[Tensor, "image *unit path"]
    directions: Float[Tensor, "*unit path embed"]
    units: tuple[str, ...] = field(default=("unit",))
    paths: tuple[str, ...] = field(default=("path",))

    def __post_init__(self) -> None:
        if self.coefficients.shape[1:] != self.directions.shape[:-1]:
            raise SummandError(
                f"coefficients [image, *unit, path] and directions [*unit, path, embed] must agree; "
                f"got {list(self.coefficients.shape)} and {list(self.directions.shape)}"
            )
        if self.coefficients.ndim != len(self.units) + 2:
            raise SummandError(
                f"{len(self.units)} unit names {self.units} do not fit coefficients {list(self.coefficients.shape)}"
            )

    @property
    def count(self) -> int:
        """Number of images."""
        return self.coefficients.shape[0]

    @cached_property
    def gram(self) -> Float[Tensor, "*unit path path2"]:
        """G = B Bᵀ of each unit's directions B: norms and angles without leaving path space."""
        return self.directions @ self.directions.transpose(-1, -2)

    def vectors(self) -> Float[Tensor, "image *unit embed"]:
        """The effects themselves. This is the one method that builds the large tensor."""
        return torch.einsum("i...p,...pe->i...e", self.coefficients, self.directions)

    def norms(self) -> Float[Tensor, "image *unit"]:
        """‖effect‖ = √(cᵀ G c)."""
        squares = torch.einsum("i...p,...pq,i...q->i...", self.coefficients, self.gram, self.coefficients)
        return squares.clamp(min=0).sqrt()

    def toward(self, directions: Float[Tensor, "direction embed"]) -> Float[Tensor, "image *unit direction"]:
        """⟨effect, direction⟩ for each of the given directions, through the factors."""
        along = self.directions @ directions.to(self.directions).T  # [*unit, path, direction]
        return torch.einsum("i...p,...pd->i...d", self.coefficients, along)

    def select(self, index: slice | int | list[int]) -> Effects:
        """The effects of some units, chosen along the first unit axis (which stays, also for an int)."""
        if isinstance(index, int):
            index = [index]
        return Effects(self.coefficients[:, index], self.directions[index], self.units, self.paths)
