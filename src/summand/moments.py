"""Statistics of Effects that can be streamed over images and merged over machines."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .effects import Effects
from .errors import SummandError


class Moments:
    r"""Count n, mean μ = Σ c / n and covariance Σ = Σ (c − μ)(c − μ)ᵀ / n of coefficients, in path space, in fp64.

    `update` and `merge` combine two sets of images by Chan's formula, M = M₁ + M₂ + δδᵀ n₁n₂ / (n₁ + n₂), so the order
    of images and the way they were split do not matter beyond rounding. What is asked in the embedding space follows
    through the directions B of each unit: the mean is Bᵀμ, the variance along t is (Bt)ᵀ Σ (Bt).

    mean: [*unit, path]; covariance: [*unit, path, path].
    """

    def __init__(self) -> None:
        self.count = 0
        self.units: tuple[str, ...] = ()
        self.paths: tuple[str, ...] = ()
        self._directions: Tensor | None = None
        self._mean: Tensor | None = None
        self._comoment: Tensor | None = None

    @property
    def directions(self) -> Float[Tensor, "*unit path embed"]:
        """The fixed directions of the units."""
        return self._filled(self._directions)

    @property
    def mean(self) -> Float[Tensor, "*unit path"]:
        return self._filled(self._mean)

    @property
    def covariance(self) -> Float[Tensor, "*unit path path2"]:
        """Population covariance (divided by n)."""
        return self._filled(self._comoment) / self.count

    def _filled(self, value: Tensor | None) -> Tensor:
        if value is None or self.count == 0:
            raise SummandError("these moments have seen no images yet; call update(effects) first")
        return value

    def update(self, effects: Effects) -> Moments:
        """Take in the effects of a batch of images. Returns itself."""
        if effects.count == 0:
            return self
        batch = Moments()
        batch.units, batch.paths, batch._directions = effects.units, effects.paths, effects.directions
        coefficients = effects.coefficients.double().movedim(0, -2)  # [*unit, image, path]
        if not torch.isfinite(coefficients).all():
            raise SummandError("the effects hold NaN or infinite numbers; check the images and the model's precision")
        batch.count = effects.count
        batch._mean = coefficients.mean(dim=-2)
        centred = coefficients - batch._mean[..., None, :]
        batch._comoment = centred.transpose(-1, -2) @ centred
        return self.merge(batch)

    def merge(self, other: Moments) -> Moments:
        """Take in the images that another instance has seen, of the same units. Returns itself."""
        if other.count == 0:
            return self
        if self.count == 0:
            self.count, self.units, self.paths = other.count, other.units, other.paths
            self._directions, self._mean = other._directions, other.mean.clone()
            self._comoment = other._filled(other._comoment).clone()
            return self
        self._check_same_units(other)
        total = self.count + other.count
        delta = other.mean - self.mean
        self._comoment = self._filled(self._comoment) + other._filled(other._comoment)
        self._comoment += delta[..., :, None] * delta[..., None, :] * (self.count * other.count / total)
        self._mean = self.mean + delta * (other.count / total)
        self.count = total
        return self

    def _check_same_units(self, other: Moments) -> None:
        mine, theirs = self.directions, other.directions
        if mine is theirs:
            return
        if mine.shape != theirs.shape or not torch.allclose(mine, theirs.to(mine), rtol=1e-4, atol=1e-6):
            raise SummandError(
                f"moments of different units cannot be merged: directions {list(mine.shape)} {self.units} and "
                f"{list(theirs.shape)} {other.units}; they come from another model or another layer"
            )

    def mean_vectors(self) -> Float[Tensor, "*unit embed"]:
        """The mean effect of each unit, Bᵀμ: what mean-ablation puts in its place."""
        return torch.einsum("...p,...pe->...e", self.mean, self.directions.double())

    def variance(self) -> Float[Tensor, "*unit"]:
        """Total variance of each unit's effect in the embedding space, tr(Σ B Bᵀ)."""
        basis = self.directions.double()
        return torch.einsum("...pq,...qe,...pe->...", self.covariance, basis, basis)

    def variance_along(self, directions: Float[Tensor, "direction embed"]) -> Float[Tensor, "*unit direction"]:
        """Variance of ⟨effect, t⟩ for each t: (Bt)ᵀ Σ (Bt)."""
        along = self.directions.double() @ directions.double().to(self.directions.device).T
        return torch.einsum("...pd,...pq,...qd->...d", along, self.covariance, along)

    def select(self, index: slice | list[int]) -> Moments:
        """The moments of some units, chosen along the first unit axis."""
        part = Moments()
        part.count, part.units, part.paths = self.count, self.units, self.paths
        part._directions, part._mean = self.directions[index], self.mean[index]
        part._comoment = self._filled(self._comoment)[index]
        return part
