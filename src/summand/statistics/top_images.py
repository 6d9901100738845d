"""The images in which a unit does most: the k largest centred effects of every unit, streamed and merged."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..effects.effects import Effects, path_norms
from ..errors import SummandError
from ..towers.directions import Directions, alike
from ..towers.precision import doubled, with_fp64
from . import saving
from .norm_quantiles import NormSketch

_Kept = tuple[Tensor, Tensor, Tensor]  # ids, norms, coefficients
_EMPTY = "these top images have seen no images yet; call update(effects, ids) first"


@names_wrong_arguments
class TopImages:
    r"""For every unit the k images of largest ‖φ(x) − φ̄‖: their ids, norms and centred coefficients (paper A: k = 100).

    φ̄ is known only after a first pass: `Moments` first, then `TopImages(k, moments.mean)` in a second one. (A centre
    guessed in one pass would keep wrong images where it moves, and nobody could tell.) `update` and `merge` keep the
    k largest of all that was seen, so neither the order of images nor the way they were split matters; equal norms
    are ordered by id. All norms are counted in a `NormSketch`. Memory does not grow with the number of images.

    ids: [*unit, rank], largest norm first; norms: [*unit, rank]; coefficients, centred: [*unit, rank, path]. Their
    signed projection on a direction: `rank_one(top).project(top)`.
    """

    def __init__(self, k: int, mean: Float[Tensor, "*unit path"]) -> None:
        if k < 1:
            raise SummandError(f"k must be at least 1, got {k}")
        self.k, self.count = k, 0
        self._mean: Tensor = doubled(mean).clone()
        self.units: tuple[str, ...] = ()
        self.paths: tuple[str, ...] = ()
        self.path_index: tuple[tuple[int, ...], ...] | None = None
        self._basis: Directions | None = None
        self._gram: tuple[Directions, Tensor] | None = None
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None
        self._sketch: NormSketch | None = None

    @property
    def mean(self) -> Float[Tensor, "*unit path"]:
        """φ̄ as coefficients; a copy, as everything that these top images hand out."""
        return self._mean.clone()

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
        return self._filled()[0].clone()

    @property
    def norms(self) -> Float[Tensor, "*unit rank"]:
        return self._filled()[1].clone()

    @property
    def coefficients(self) -> Float[Tensor, "*unit rank path"]:
        """Centred: c − mean."""
        return self._filled()[2].clone()

    def update(self, effects: Effects, ids: Sequence[int] | Int[Tensor, " image"]) -> TopImages:
        """Take in a batch of images; ids: one number for each, of the caller's choosing. Returns itself."""
        ids = torch.as_tensor(ids, dtype=torch.int64).to(with_fp64(effects.coefficients.device))
        if ids.shape != (effects.count,):
            raise SummandError(f"expected one id for each of {effects.count} images, got {list(ids.shape)}")
        norms, centred = self._centred(effects)
        if effects.count == 0:
            return self
        found = (ids.expand(norms.shape), norms, centred.movedim(0, -2).to(effects.coefficients.dtype))
        return self._take(found, NormSketch.of(norms), effects.count)

    def _centred(self, effects: Effects) -> tuple[Float[Tensor, "*unit image"], Float[Tensor, "image *unit path"]]:
        """‖φ − φ̄‖ and the coefficients of φ − φ̄."""
        if tuple(self._mean.shape) != effects.basis.shape[:-1]:
            raise SummandError(
                f"the mean is of other units: [*unit, path] is {list(self._mean.shape)}, "
                f"these effects have {list(effects.basis.shape[:-1])}"
            )
        effects.check_finite(known=self._basis)
        if self._basis is None:
            self.units, self.paths, self.path_index = effects.units, effects.paths, effects.path_index
            self._basis = effects.basis
        self._check_same_units(effects.basis)
        if self._gram is None or self._gram[0] is not self._basis:
            self._gram = (self._basis, self._basis.double()._gram())
        coefficients = doubled(effects.coefficients)
        self._mean = self._mean.to(coefficients.device)
        centred = coefficients - self._mean
        return path_norms(centred, self._gram[1]).movedim(0, -1), centred

    def merge(self, other: TopImages) -> TopImages:
        """Take in the images that another instance has seen, with the same k, mean and units. Returns itself."""
        if other.count == 0:
            return self
        if other.k != self.k:
            raise SummandError(f"top images of different k cannot be merged: {self.k} and {other.k}")
        if not alike(self._mean[None], other._mean.to(self._mean)[None], relative=1e-6):
            raise SummandError("top images by distance from different means cannot be merged; make both with one mean")
        if self._basis is None:
            self.units, self.paths, self.path_index, self._basis = (
                other.units,
                other.paths,
                other.path_index,
                other.basis,
            )
        self._check_same_units(other.basis)
        assert other._sketch is not None
        return self._take(other._filled(), other._sketch, other.count)

    def _check_same_units(self, basis: Directions) -> None:
        if not self.basis.same(basis):
            raise SummandError("top images of different units cannot be merged; they come from another model or layer")

    def _take(self, found: _Kept, sketch: NormSketch, count: int) -> TopImages:
        self.count += count
        if self._sketch is None:
            self._sketch = NormSketch(sketch.highest.clone(), sketch.counts.clone())
        else:
            self._sketch.merge(sketch)
        kept = self._kept
        if kept is None:
            self._kept = _largest(found, self.k)
        elif kept[1].shape[-1] < self.k:
            self._kept = _largest(_joined(kept, found), self.k)
        else:  # most units keep what they have
            rows = (found[1] >= kept[1][..., -1:]).any(dim=-1)
            if bool(rows.any()):
                mine = (kept[0][rows], kept[1][rows], kept[2][rows])
                new = (found[0][rows], found[1][rows], found[2][rows])
                for whole, part in zip(kept, _largest(_joined(mine, new), self.k), strict=True):
                    whole[rows] = part
        return self

    def quantile(self, q: float) -> Float[Tensor, "*unit"]:
        """The q-quantile of the centred norms over all n images: the smallest norm that at least ⌈qn⌉ images do not
        exceed.

        Exact where that norm is kept, ⌈qn⌉ > n − k; below that from the sketch, within 5 % of a norm that was seen (or
        an upper bound, where it is less than a 400th of the largest). 0.98 is the papers' threshold of significance.
        """
        if not 0 <= q <= 1:
            raise SummandError(f"a quantile is between 0 and 1, got {q}")
        held = self._filled()[1].shape[-1]
        from_above = self.count - max(1, _ceiling(q * self.count))
        if from_above < held:
            return self._filled()[1][..., from_above].clone()
        assert self._sketch is not None
        return self._sketch.from_above(from_above)

    def threshold(self) -> Float[Tensor, "*unit"]:
        """The k-th largest norm: paper A calls an effect on a new image significant where its norm exceeds this.

        Raises `SummandError` where fewer than k images have been seen.
        """
        if self._filled()[1].shape[-1] < self.k:
            raise SummandError(f"the {self.k}th largest norm needs at least {self.k} images, got {self.count}")
        return self._filled()[1][..., -1].clone()

    def significant(self, effects: Effects) -> Bool[Tensor, "image *unit"]:
        """‖φ(x) − φ̄‖ ≥ the k-th largest norm (paper A: k = 100 of 5,124 images, 2 %), for new images or old ones."""
        least = self.threshold()
        return self._centred(effects)[0].movedim(-1, 0) >= least

    def to(self, device: torch.device | str) -> TopImages:
        """The same images on another device; where it has no fp64 they stay on the CPU, and their directions go."""
        place = with_fp64(device)
        ids, norms, coefficients = self._filled()
        return TopImages.restore(
            self.k,
            self.count,
            self._mean.to(place),
            (ids.to(place), norms.to(place), coefficients.to(place)),
            NormSketch(self.sketch.highest.to(place), self.sketch.counts.to(place)),
            self.basis.to(device),
            self.units,
            self.paths,
            self.path_index,
        )

    @classmethod
    def restore(
        cls,
        k: int,
        count: int,
        mean: Float[Tensor, "*unit path"],
        kept: tuple[Int[Tensor, "*unit rank"], Float[Tensor, "*unit rank"], Float[Tensor, "*unit rank path"]],
        sketch: NormSketch,
        directions: Directions,
        units: tuple[str, ...],
        paths: tuple[str, ...],
        path_index: tuple[tuple[int, ...], ...] | None = None,
    ) -> TopImages:
        """Top images from what they consist of, as another kind of file may keep them. kept: ids, norms, centred
        coefficients."""
        top = cls(k, mean)
        top.count, top.units, top.paths, top.path_index, top._basis = count, units, paths, path_index, directions
        top._kept, top._sketch = kept, sketch
        return top

    @property
    def sketch(self) -> NormSketch:
        """The norms of all images, counted."""
        if self._sketch is None:
            raise SummandError(_EMPTY)
        return NormSketch(self._sketch.highest.clone(), self._sketch.counts.clone())

    def save(self, path: str | os.PathLike[str]) -> None:
        """One .npz file, without pickle. Norms are left out: they follow from the coefficients."""
        saving.write(path, "top images", self.basis, self.arrays())

    def arrays(self) -> dict[str, Any]:
        """What `save` writes, without the directions."""
        ids, sketch = self.ids, self.sketch
        counts = sketch.counts
        return {
            **{"k": self.k, "count": self.count, "mean": self.mean, "coefficients": self.coefficients},
            "ids": ids.int() if bool((ids.abs() < 2**31).all()) else ids,
            "highest": sketch.highest.int(),
            "counts": counts.to(torch.uint16) if int(counts.max()) < 2**16 else counts,
            **{"units": self.units, "paths": self.paths, "path_index": self.path_index},
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TopImages:
        """What `save` wrote, or `Moments.save` together with the moments. Raises `SummandError` for any other file."""
        basis, found = saving.read(path, "top images", "moments")
        if str(found["kind"]) == "moments":
            found = {name[4:]: value for name, value in found.items() if name.startswith("top_")}
            if not found:
                raise SummandError(f"{path} holds moments, not top images; they were saved without top=")
        return saving.understood(path, "top images", lambda: cls.of_arrays(basis, found))

    @classmethod
    def of_arrays(cls, basis: Directions, found: Mapping[str, np.ndarray]) -> TopImages:
        """Top images from their directions and `arrays`."""
        top = cls(int(found["k"]), torch.from_numpy(found["mean"]))
        top.count, top._basis = int(found["count"]), basis
        top.units, top.paths = saving.names(found["units"]), saving.names(found["paths"])
        top.path_index = saving.index(found.get("path_index"))
        coefficients = torch.from_numpy(found["coefficients"])
        norms = path_norms(doubled(coefficients).movedim(-2, 0), basis.double()._gram()).movedim(0, -1)
        top._kept = (torch.from_numpy(found["ids"]).long(), norms, coefficients)
        top._sketch = NormSketch(
            torch.from_numpy(found["highest"]).long(), torch.from_numpy(found["counts"].astype("int32"))
        )
        return top


def _joined(one: _Kept, other: _Kept) -> _Kept:
    ids, norms = torch.cat([one[0], other[0]], dim=-1), torch.cat([one[1], other[1]], dim=-1)
    return ids, norms, torch.cat([one[2], other[2].to(one[2])], dim=-2)


def _largest(found: _Kept, k: int) -> _Kept:
    """The k of largest norm, equal ones by id."""
    ids, norms, coefficients = found
    by_id = ids.argsort(dim=-1)
    order = norms.gather(-1, by_id).argsort(dim=-1, descending=True, stable=True)[..., :k]
    order = by_id.gather(-1, order)
    along = order[..., None].expand(*order.shape, coefficients.shape[-1])
    return ids.gather(-1, order), norms.gather(-1, order), coefficients.gather(-2, along)


def _ceiling(number: float) -> int:
    """⌈number⌉, where 0.98 · 50 is 49 and not a little more."""
    return -int(-(number - 1e-9) // 1)
