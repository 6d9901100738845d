"""The images in which a unit does most: the k largest centred effects of every unit, streamed and merged."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import saving
from .directions import Directions
from .effects import Effects, path_norms
from .errors import SummandError

_EMPTY = "these top images have seen no images yet; call update(effects, ids) first"


class TopImages:
    r"""For every unit the k images of largest ‖φ(x) − φ̄‖: their ids, norms and centred coefficients (paper A: k = 100).

    φ̄ is known only after a first pass: `Moments` first, then `TopImages(k, moments.mean)` in a second one. `update`
    and `merge` keep the k largest of all that was seen, so neither the order of images nor the way they were split
    matters; equal norms are ordered by id. Memory does not grow with the number of images.

    ids: [*unit, rank], largest norm first; norms: [*unit, rank]; coefficients, centred: [*unit, rank, path].
    """

    def __init__(self, k: int, mean: Float[Tensor, "*unit path"]) -> None:
        if k < 1:
            raise SummandError(f"k must be at least 1, got {k}")
        self.k, self.count = k, 0
        self.mean: Tensor = mean.double()
        self.units: tuple[str, ...] = ()
        self.paths: tuple[str, ...] = ()
        self.path_index: tuple[tuple[int, ...], ...] | None = None
        self._basis: Directions | None = None
        self._gram: tuple[Directions, Tensor] | None = None
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def basis(self) -> Directions:
        if self._basis is None:
            raise SummandError(_EMPTY)
        return self._basis

    def _filled(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._kept is None:
            raise SummandError(_EMPTY)
        return self._kept

    @property
    def ids(self) -> Int[Tensor, "*unit rank"]:
        return self._filled()[0]

    @property
    def norms(self) -> Float[Tensor, "*unit rank"]:
        return self._filled()[1]

    @property
    def coefficients(self) -> Float[Tensor, "*unit rank path"]:
        """Centred: c − mean."""
        return self._filled()[2]

    def update(self, effects: Effects, ids: Sequence[int] | Int[Tensor, " image"]) -> TopImages:
        """Take in a batch of images; ids: one number for each, of the caller's choosing. Returns itself."""
        ids = torch.as_tensor(ids, dtype=torch.int64).to(effects.coefficients.device)
        if ids.shape != (effects.count,):
            raise SummandError(f"expected one id for each of {effects.count} images, got {list(ids.shape)}")
        if tuple(self.mean.shape) != effects.basis.shape[:-1]:
            raise SummandError(
                f"the mean is of other units: [*unit, path] is {list(self.mean.shape)}, "
                f"these effects have {list(effects.basis.shape[:-1])}"
            )
        if effects.count == 0:
            return self
        if not torch.isfinite(effects.coefficients).all():
            raise SummandError("the effects hold NaN or infinite numbers; check the images and the model's precision")
        if self._basis is None:
            self.units, self.paths, self.path_index = effects.units, effects.paths, effects.path_index
            self._basis, self.mean = effects.basis, self.mean.to(effects.coefficients.device)
        self._check_same_units(effects.basis)
        if self._gram is None or self._gram[0] is not self._basis:
            self._gram = (self._basis, self._basis.double().gram)
        centred = effects.coefficients.double() - self.mean
        norms = path_norms(centred, self._gram[1]).movedim(0, -1)
        found = (ids.expand(norms.shape), norms, centred.movedim(0, -2).to(effects.coefficients.dtype))
        return self._take(found, effects.count)

    def merge(self, other: TopImages) -> TopImages:
        """Take in the images that another instance has seen, with the same k, mean and units. Returns itself."""
        if other.count == 0:
            return self
        if other.k != self.k:
            raise SummandError(f"top images of different k cannot be merged: {self.k} and {other.k}")
        if other.mean.shape != self.mean.shape or not torch.allclose(other.mean.to(self.mean), self.mean, rtol=1e-6):
            raise SummandError("top images by distance from different means cannot be merged; make both with one mean")
        if self._basis is None:
            self.units, self.paths, self.path_index, self._basis = (
                other.units,
                other.paths,
                other.path_index,
                other.basis,
            )
        self._check_same_units(other.basis)
        return self._take(other._filled(), other.count)

    def _check_same_units(self, basis: Directions) -> None:
        if not self.basis.same(basis):
            raise SummandError("top images of different units cannot be merged; they come from another model or layer")

    def _take(self, found: tuple[Tensor, Tensor, Tensor], count: int) -> TopImages:
        self.count += count
        ids, norms, coefficients = found
        if self._kept is not None:
            ids, norms = torch.cat([self._kept[0], ids], dim=-1), torch.cat([self._kept[1], norms], dim=-1)
            coefficients = torch.cat([self._kept[2], coefficients.to(self._kept[2])], dim=-2)
        by_id = ids.argsort(dim=-1)
        order = norms.gather(-1, by_id).argsort(dim=-1, descending=True, stable=True)[..., : self.k]
        order = by_id.gather(-1, order)
        along = order[..., None].expand(*order.shape, coefficients.shape[-1])
        self._kept = (ids.gather(-1, order), norms.gather(-1, order), coefficients.gather(-2, along))
        return self

    def quantile(self, q: float) -> Float[Tensor, "*unit"]:
        """The q-quantile of the centred norms over all n images: the smallest norm that at least ⌈qn⌉ images do not
        exceed. Exact, never an estimate, for the quantiles whose norm is kept: ⌈qn⌉ > n − k. 0.98 is the papers'
        threshold of significance. Raises `SummandError` for a smaller q."""
        if not 0 <= q <= 1:
            raise SummandError(f"a quantile is between 0 and 1, got {q}")
        held = self._filled()[1].shape[-1]
        from_above = self.count - max(1, _ceiling(q * self.count))
        if from_above >= held:
            raise SummandError(
                f"of {self.count} images the {held} largest norms are kept, which gives quantiles above "
                f"{1 - held / self.count:.4g}, not {q}; a larger k reaches lower"
            )
        return self.norms[..., from_above]

    def threshold(self) -> Float[Tensor, "*unit"]:
        """The k-th largest norm: paper A calls an effect on a new image significant where its norm exceeds this."""
        return self.norms[..., -1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """One .npz file, without pickle. Norms are left out: they follow from the coefficients."""
        ids = self.ids
        small = ids.int() if bool((ids.abs() < 2**31).all()) else ids
        named = {
            **{"k": self.k, "count": self.count, "mean": self.mean, "ids": small, "coefficients": self.coefficients},
            **{"units": self.units, "paths": self.paths, "path_index": self.path_index},
        }
        saving.write(path, "top images", self.basis, named)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TopImages:
        """What `save` wrote. Raises `SummandError` for any other file."""
        basis, found = saving.read(path, "top images")
        top = cls(int(found["k"]), torch.from_numpy(found["mean"]))
        top.count, top._basis = int(found["count"]), basis
        top.units, top.paths = saving.names(found["units"]), saving.names(found["paths"])
        top.path_index = saving.index(found.get("path_index"))
        coefficients = torch.from_numpy(found["coefficients"])
        norms = path_norms(coefficients.double().movedim(-2, 0), basis.double().gram).movedim(0, -1)
        top._kept = (torch.from_numpy(found["ids"]).long(), norms, coefficients)
        return top


def _ceiling(number: float) -> int:
    """⌈number⌉, where 0.98 · 50 is 49 and not a little more."""
    return -int(-(number - 1e-9) // 1)
