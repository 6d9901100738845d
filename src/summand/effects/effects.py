"""Effects: a small set of numbers for each image times fixed directions that come from the weights alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..towers.directions import Directions
from ..towers.finite import all_finite
from ..towers.precision import as_written, promoted
from ..whole_numbers import as_whole_number, whole_number


@names_wrong_arguments
class Effects:
    r"""effect[image, unit, embed] = Σ_path coefficients[image, unit, path] · directions[unit, path, embed]

    The factors are kept; the product is built only by `vectors()`. A unit is whatever is studied: a head (one path
    per value channel), a neuron (one path per later head), a neuron–head pair (a single path).

    coefficients: [image, *unit, path]. directions: [*unit, path, embed], a tensor, or a `Factored` one whose product is
    built only when `directions` is asked for. units, paths: the names of the axes, such as ("layer", "head") and
    ("channel",); where several names share the one path axis, path_index says what each path is: a row for each path, a
    number for each name. rest: [image, embed], what the output holds besides these units, where they are one side
    of a sum: effects.vectors() over all units + rest == encode_image.
    """

    def __init__(
        self,
        coefficients: Float[Tensor, "image *unit path"],
        directions: Float[Tensor, "*unit path embed"] | Directions,
        units: tuple[str, ...] = ("unit",),
        paths: tuple[str, ...] = ("path",),
        *,
        path_index: tuple[tuple[int, ...], ...] | None = None,
        rest: Float[Tensor, "image embed"] | None = None,
    ) -> None:
        self.coefficients, self.basis = coefficients, Directions.of(directions)
        self.units, self.paths, self.path_index, self.rest = units, paths, path_index, rest
        if tuple(coefficients.shape[1:]) != self.basis.shape[:-1]:
            raise SummandError(
                f"coefficients [image, *unit, path] and directions [*unit, path, embed] must agree; "
                f"got {list(coefficients.shape)} and {list(self.basis.shape)}"
            )
        if coefficients.ndim != len(units) + 2:
            raise SummandError(f"{len(units)} unit names {units} do not fit coefficients {list(coefficients.shape)}")
        if path_index is not None and [len(row) for row in path_index] != [len(paths)] * coefficients.shape[-1]:
            raise SummandError(f"path_index must have {coefficients.shape[-1]} rows of {len(paths)} numbers, {paths}")

    def with_coefficients(self, coefficients: Tensor, rest: Tensor | None = None) -> Effects:
        """The same units and directions with other numbers."""
        return Effects(coefficients, self.basis, self.units, self.paths, path_index=self.path_index, rest=rest)

    def __repr__(self) -> str:
        return f"<Effects of {self.count} images, {self.units} × {self.paths} → embed, {list(self.basis.shape)}>"

    @property
    def directions(self) -> Float[Tensor, "*unit path embed"]:
        """The directions as one tensor, the caller's to change. Factored ones are multiplied out at every call: 453 MB
        for RN50x16's pairs."""
        return self.basis.dense()

    @property
    def device(self) -> torch.device:
        return self.coefficients.device

    @property
    def count(self) -> int:
        """Number of images."""
        return self.coefficients.shape[0]

    def check_finite(self, known: Directions | None = None) -> None:
        """Raises `SummandError` for NaN or infinite numbers. known: directions that have been looked at before."""
        if not all_finite(self.coefficients):
            raise SummandError("the effects hold NaN or infinite numbers; check the images and the model's precision")
        if self.basis is not known and not self.basis.finite():
            raise SummandError(
                "the units' directions hold NaN or infinite numbers, so a weight of the model does; load sound weights"
            )

    @property
    def gram(self) -> Float[Tensor, "*unit path path2"]:
        """G = B Bᵀ of each unit's directions B: norms and angles without leaving path space."""
        return self.basis.gram

    def vectors(self) -> Float[Tensor, "image *unit embed"]:
        """The effects themselves. This is the one method that builds the large tensor."""
        return self.basis.combine(self.coefficients)

    def norms(self) -> Float[Tensor, "image *unit"]:
        """‖effect‖ = √(cᵀ G c)."""
        return path_norms(self.coefficients, self.basis._gram())

    @as_written
    def toward(self, directions: Float[Tensor, "direction embed"]) -> Float[Tensor, "image *unit direction"]:
        """⟨effect, direction⟩ for each of the given directions, through the factors. Differentiable in the coefficients
        and in the given directions."""
        return torch.einsum("i...p,...pd->i...d", *promoted(self.coefficients, self.basis.toward(directions)))

    def select(self, index: slice | int | list[int]) -> Effects:
        """The effects of some units, chosen along the first unit axis (which stays, also for an int)."""
        one = whole_number(index)
        index = [one] if one is not None else index
        if isinstance(index, list):
            index = [as_whole_number(unit) for unit in index]
        return Effects(
            self.coefficients[:, index],
            self.basis.select(index),
            self.units,
            self.paths,
            path_index=self.path_index,
        )

    def sum_over_last_unit(self) -> Effects:
        """The effects summed over the last unit axis, which becomes a path: pairs (neuron, head) → neurons."""
        if len(self.units) < 2:
            raise SummandError(f"these effects have the one unit axis {self.units}, so there is none to sum over")
        rows = self.path_index or tuple((path,) for path in range(self.coefficients.shape[-1]))
        joint = tuple((unit, *row) for unit in range(self.coefficients.shape[-2]) for row in rows)
        return Effects(
            self.coefficients.flatten(-2),
            self.basis.fold(),
            self.units[:-1],
            (self.units[-1], *self.paths),
            path_index=joint,
            rest=self.rest,
        )


@as_written
def path_norms(
    coefficients: Float[Tensor, "image *unit path"], gram: Float[Tensor, "*unit path path"]
) -> Float[Tensor, "image *unit"]:
    """‖Σ_path c B‖ = √(cᵀ G c)."""
    coefficients, gram = promoted(coefficients, gram)
    turned = torch.einsum("i...p,...pq->i...q", coefficients, gram)
    return (turned * coefficients).sum(dim=-1).clamp(min=0).sqrt()
