"""Statistics of Effects that can be streamed over images and merged over machines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..effects.effects import Effects
from ..errors import SummandError
from ..towers.directions import Directions
from ..towers.finite import check_finite, power_of_two
from ..towers.precision import doubled, fast_fp64, with_fp64
from . import saving

_AT_ONCE = 32  # images of which a sum in fp32 keeps its digits
_EMPTY = "these moments have seen no images yet; call update(effects) first"


@names_wrong_arguments
class Moments:
    r"""Count n, mean μ = Σ c / n and covariance Σ = Σ (c − μ)(c − μ)ᵀ / n of coefficients, in path space, in fp64.

    `update` and `merge` combine two sets of images by Chan's formula, M = M₁ + M₂ + δδᵀ n₁n₂ / (n₁ + n₂), so the order
    of images and the way they were split do not matter beyond rounding. What is asked in the embedding space follows
    through the directions B of each unit: the mean is Bᵀμ, the variance along t is (Bt)ᵀ Σ (Bt).

    Memory is one covariance a unit, however many images. The largest effects and the quantiles of their norms need the
    mean first: `TopImages(k, moments.mean)`, in a second pass. mean: [*unit, path]; covariance: [*unit, path, path].
    """

    def __init__(self) -> None:
        self.count = 0
        self.units: tuple[str, ...] = ()
        self.paths: tuple[str, ...] = ()
        self.path_index: tuple[tuple[int, ...], ...] | None = None
        self._basis: Directions | None = None
        self._mean: Tensor | None = None
        self._comoment: Tensor | None = None

    @property
    def basis(self) -> Directions:
        """The fixed directions of the units, as they were handed over: whole or factored."""
        if self._basis is None:
            raise SummandError(_EMPTY)
        return self._basis

    @property
    def directions(self) -> Float[Tensor, "*unit path embed"]:
        """The fixed directions of the units as one tensor."""
        return self.basis.dense()

    @property
    def mean(self) -> Float[Tensor, "*unit path"]:
        """A copy, as everything that these moments hand out."""
        return self._filled(self._mean).clone()

    @property
    def covariance(self) -> Float[Tensor, "*unit path path2"]:
        """Population covariance (divided by n)."""
        return self._filled(self._comoment) / self.count

    def _filled(self, value: Tensor | None) -> Tensor:
        if value is None or self.count == 0:
            raise SummandError(_EMPTY)
        return value

    def update(self, effects: Effects) -> Moments:
        """Take in the effects of a batch of images. Returns itself."""
        if effects.count == 0:
            return self
        coefficients = doubled(effects.coefficients).movedim(0, -2)  # [*unit, image, path]
        effects.check_finite(known=self._basis)
        mean = coefficients.mean(dim=-2)
        rows = coefficients - mean[..., None, :]
        if self.count == 0:
            self.units, self.paths, self.path_index = effects.units, effects.paths, effects.path_index
            size = rows.shape[-1]
            self._comoment = _add_squares(rows.new_zeros(*rows.shape[:-2], size, size), rows)
            self._basis, self._mean, self.count = effects.basis, mean, effects.count
            return self
        self._check_same_units(effects.basis, effects.units)
        delta, total = mean - self.mean, self.count + effects.count
        apart = delta[..., None, :] * (self.count * effects.count / total) ** 0.5  # one more row: one sum for both
        mean = self.mean + delta * (effects.count / total)
        self._comoment = _add_squares(self._filled(self._comoment), torch.cat([rows, apart], dim=-2))
        self._mean, self.count = mean, total
        return self

    def merge(self, other: Moments) -> Moments:
        """Take in the images that another instance has seen, of the same units. Returns itself."""
        if other.count == 0:
            return self
        if self.count == 0:
            self.count, self._basis, self._mean = other.count, other._basis, other.mean
            self.units, self.paths, self.path_index = other.units, other.paths, other.path_index
            self._comoment = other._filled(other._comoment).clone()
            return self
        self._check_same_units(other.basis, other.units)
        total = self.count + other.count
        delta = other.mean - self.mean
        self._comoment = self._filled(self._comoment) + other._filled(other._comoment)
        self._comoment += delta[..., :, None] * delta[..., None, :] * (self.count * other.count / total)
        self._mean = self.mean + delta * (other.count / total)
        self.count = total
        return self

    def _check_same_units(self, basis: Directions, units: tuple[str, ...]) -> None:
        if not self.basis.same(basis):
            raise SummandError(
                f"moments of different units cannot be merged: directions {list(self.basis.shape)} {self.units} and "
                f"{list(basis.shape)} {units}; they come from another model or another layer"
            )

    def mean_vectors(self) -> Float[Tensor, "*unit embed"]:
        """The mean effect of each unit, Bᵀμ: what mean-ablation puts in its place."""
        return self.basis.double().combine(self.mean)

    def variance(self) -> Float[Tensor, "*unit"]:
        """Total variance of each unit's effect in the embedding space, tr(Σ B Bᵀ)."""
        return (self.covariance * self.basis.double()._gram()).sum(dim=(-2, -1))

    def variance_along(self, directions: Float[Tensor, "direction embed"]) -> Float[Tensor, "*unit direction"]:
        """Variance of ⟨effect, t⟩ for each t: (Bt)ᵀ Σ (Bt)."""
        check_finite(directions, "direction", "encode the texts again")
        along = self.basis.double().toward(doubled(directions))
        return torch.einsum("...pd,...pq,...qd->...d", along, self.covariance, along)

    def select(self, index: slice | list[int]) -> Moments:
        """The moments of some units, chosen along the first unit axis."""
        part = Moments()
        part.count, part.units, part.paths, part.path_index = self.count, self.units, self.paths, self.path_index
        part._basis, part._mean = self.basis.select(index), self.mean[index]
        part._comoment = self._filled(self._comoment)[index].clone()  # `update` writes to its own in place
        return part

    def to(self, device: torch.device | str) -> Moments:
        """The same statistics on another device; where it has no fp64 they stay on the CPU, and their directions go."""
        moved = Moments()
        moved.count, moved.units, moved.paths, moved.path_index = self.count, self.units, self.paths, self.path_index
        moved._basis, moved._mean = self.basis.to(device), self.mean.to(with_fp64(device))
        moved._comoment = self._filled(self._comoment).to(with_fp64(device), copy=True)
        return moved

    @classmethod
    def restore(
        cls,
        count: int,
        mean: Float[Tensor, "*unit path"],
        covariance: Float[Tensor, "*unit path path2"],
        directions: Directions,
        units: tuple[str, ...],
        paths: tuple[str, ...],
        path_index: tuple[tuple[int, ...], ...] | None = None,
    ) -> Moments:
        """Moments from what they consist of, as another kind of file may keep them."""
        moments = cls()
        moments.count, moments.units, moments.paths, moments.path_index = count, units, paths, path_index
        moments._basis, moments._mean = directions, doubled(mean)
        moments._comoment = doubled(covariance) * count
        return moments

    def save(self, path: str | os.PathLike[str], top: saving.Saved | None = None) -> None:
        """One .npz file, without pickle; of the covariance, which is symmetric, one triangle.

        top: `TopImages` of the same units, to stand in the same file, where the directions need not stand twice;
        `TopImages.load` reads them from it. Raises `SummandError` for those of other units.
        """
        more: dict[str, object] = {}
        if top is not None:
            if not self.basis.same(top.basis):
                raise SummandError("top images and moments of different units cannot stand in one file")
            more = {f"top_{name}": value for name, value in top.arrays().items()}
        saving.write(path, "moments", self.basis, self.arrays() | more)

    def arrays(self) -> dict[str, Any]:
        """What `save` writes, without the directions."""
        comoment, size = self._filled(self._comoment), self.basis.shape[-2]
        rows, columns = torch.triu_indices(size, size)
        return {
            **{"count": self.count, "mean": self.mean, "comoment": comoment[..., rows, columns]},
            **{"units": self.units, "paths": self.paths, "path_index": self.path_index},
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Moments:
        """What `save` wrote, to read from, to merge and to update further. Raises `SummandError` for any other file."""
        return saving.understood(path, "moments", lambda: cls.of_arrays(*saving.read(path, "moments")))

    @classmethod
    def of_arrays(cls, basis: Directions, found: Mapping[str, np.ndarray]) -> Moments:
        """Moments from their directions and `arrays`."""
        moments = cls()
        moments._basis = basis
        moments.count, moments.units = int(found["count"]), saving.names(found["units"])
        moments.paths, moments.path_index = saving.names(found["paths"]), saving.index(found.get("path_index"))
        moments._mean = torch.from_numpy(found["mean"])
        size = moments._mean.shape[-1]
        rows, columns = torch.triu_indices(size, size)
        triangle = torch.from_numpy(found["comoment"])
        moments._comoment = triangle.new_zeros(*triangle.shape[:-1], size, size)
        moments._comoment[..., rows, columns] = triangle
        moments._comoment[..., columns, rows] = triangle
        return moments


def _add_squares(
    total: Float[Tensor, "*unit path path2"], rows: Float[Tensor, "*unit row path"]
) -> Float[Tensor, "*unit path path2"]:
    """total + Σ_row r rᵀ, in its place, in fp64; where the device is slow at it, as fp32 products of a few rows each,
    summed in fp64."""
    if total.is_inference() and not torch.is_inference_mode_enabled():
        total = total.clone()  # torch refuses to write to it out here
    if rows.shape[-1] == 1:  # 147,456 products of 1 × n and n × 1 matrices would take their time
        return total.add_(rows.square().sum(dim=-2, keepdim=True))
    each, squares = rows.reshape(-1, *rows.shape[-2:]), total.view(-1, *total.shape[-2:])
    if fast_fp64(rows.device):
        squares.baddbmm_(each.transpose(1, 2), each)
        return total
    scale = power_of_two(each)  # no square leaves the range of fp32
    for some in (each / scale).float().split(_AT_ONCE, dim=1):
        squares += (some.transpose(1, 2) @ some).double() * scale.square()
    return total


class Mean:
    """Σ x / n over images, in fp64."""

    def __init__(self) -> None:
        self.count, self._sum = 0, None

    def update(self, values: Float[Tensor, "image *rest"]) -> None:
        self.add(doubled(values).sum(dim=0), len(values))

    def add(self, total: Float[Tensor, "*rest"], count: int) -> None:
        """A sum over `count` images."""
        self._sum = total if self._sum is None else self._sum + total
        self.count += count

    @property
    def value(self) -> Float[Tensor, "*rest"]:
        if self._sum is None:
            raise SummandError("the mean is of no images")
        return self._sum / self.count
