"""One direction for each unit: what most of a neuron's or a head's effect points along (paper A, Section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..effects.effects import Effects
from ..errors import SummandError
from ..towers.directions import Directions
from ..towers.finite import all_finite
from ..towers.precision import doubled, with_fp64
from .moments import Moments
from .top_images import TopImages

SIGNIFICANT = 0.98
"""An effect is significant above this quantile of its unit's centred norms (paper A: 100 of 5,124 images)."""

_MOST_TOP = {"pairs": 50}  # papers A and B: 100 of 5,124 and 50 of 1,000 images
_TOP_SHARE, _LEAST_TOP = 0.02, 20  # of fewer images the same share of them, else r_n is made from weak effects


def top_count(images: int, kind: str = "neurons") -> int:
    """How many top images make r_n: 2 % of the images, at least 20 and at most 100 (of pairs, 50), never more than a
    quarter of them: with all images, the side that most are on is left to chance.

    >>> [top_count(images) for images in (24, 400, 2000, 5124)]
    [6, 20, 40, 100]
    """
    most = min(_MOST_TOP.get(kind, 100), max(1, images // 4))
    return min(most, max(_LEAST_TOP, round(_TOP_SHARE * images)))


def significance(top: TopImages) -> Float[Tensor, "*unit"]:
    """The norm ‖φ_n(x) − b_n‖ above which an effect is significant: the 98th percentile over the data set, exact where
    2 % of the images are kept, else within 5 %."""
    return top.quantile(SIGNIFICANT)


@names_wrong_arguments
@dataclass(frozen=True)
class RankOne:
    r"""φ_n(x) ≈ x_n(x) r_n + b_n, with r_n of unit length and x_n(x) = ⟨φ_n(x) − b_n, r_n⟩, signed (paper A).

    r_n = Σ_path weights · B lies in the span of the unit's own directions B and is kept as its weights there. b_n: the
    mean effect. explained: the share of the squared norm of the centred effects that the first k principal directions
    carry, [*unit, k], cumulative, over the images that r_n was made from. A unit that never varies has r_n = 0.

    weights: [*unit, component, path], the first components asked for; r_n is the first of them. mean: [*unit, path].
    """

    basis: Directions
    weights: Float[Tensor, "*unit component path"]
    mean: Float[Tensor, "*unit path"]
    explained: Float[Tensor, "*unit component_k"]

    @property
    def directions(self) -> Float[Tensor, "*unit embed"]:
        """r_n."""
        return self.basis.double().combine(self.weights[..., 0, :])

    @property
    def offsets(self) -> Float[Tensor, "*unit embed"]:
        """b_n."""
        return self.basis.double().combine(self.mean)

    def to(self, device: torch.device | str) -> RankOne:
        """The same directions on another device; numbers in fp64 stay on the CPU where that has none."""
        moved = (tensor.to(with_fp64(device)) for tensor in (self.weights, self.mean, self.explained))
        return RankOne(self.basis.to(device), *moved)

    def project(self, effects: Effects | TopImages) -> Float[Tensor, "..."]:
        """x_n, signed: ⟨φ_n − b_n, r_n⟩ = (c − mean)ᵀ G weights, [image, *unit]; of top images, [*unit, rank]."""
        if isinstance(effects, TopImages):
            self._check_same_units(effects.basis)
            centred = doubled(effects.coefficients) + (effects.mean - self.mean)[..., None, :]
            return torch.einsum("...ip,...p->...i", centred, self.reading()[..., 0])
        return self._along(effects)[..., 0]

    def reconstruct(self, effects: Effects) -> Effects:
        """x_n r_n + b_n of every image (with more components, Σ_k x_k r_k + b_n), as effects along the same paths."""
        coefficients = torch.einsum("i...k,...kp->i...p", self._along(effects), self.weights) + self.mean
        return Effects(
            coefficients.to(effects.coefficients.dtype),
            effects.basis,
            effects.units,
            effects.paths,
            path_index=effects.path_index,
        )

    def _along(self, effects: Effects) -> Float[Tensor, "image *unit component"]:
        self._check_same_units(effects.basis)
        return torch.einsum("i...p,...pk->i...k", doubled(effects.coefficients) - self.mean, self.reading())

    def reading(self) -> Float[Tensor, "*unit path component"]:
        """G weights: what each path's coefficient counts for in the projections."""
        return torch.einsum("...pq,...kq->...pk", self.basis.double()._gram(), self.weights)

    def _check_same_units(self, basis: Directions) -> None:
        if not self.basis.same(basis):
            raise SummandError("these directions are of other units than the effects; another model or another layer")


@names_wrong_arguments
def rank_one(source: TopImages | Moments, components: int = 1) -> RankOne:
    r"""r_n: the first right-singular vector of a unit's centred effects, from its top images or from all of them.

    From `TopImages` (paper A): the k largest effects by centred norm, centred by the mean over the data set and not
    again by their own; r_n points to the side where most of them are (as many on either side: where their sum is). From
    `Moments`: all images through the covariance; r_n points to the side of the mean effect, for no image is known.

    Nothing is built in the embedding space. With C the centred coefficients, HᵀH = CᵀC and G = B Bᵀ, the squared
    singular values are the eigenvalues of H G Hᵀ, and r = Bᵀ Hᵀ u / s for its eigenvector u: a problem of the size of
    the paths or of k, whichever is smaller.
    """
    if not isinstance(source, (TopImages, Moments)):
        raise SummandError(f"rank_one takes TopImages or Moments, got {type(source).__name__}")
    basis = source.basis
    if source.count < 2:
        raise SummandError(f"a principal direction needs at least 2 images, got {source.count}")
    images = doubled(source.coefficients) if isinstance(source, TopImages) else None
    covariance = source.covariance if isinstance(source, Moments) else None
    if not (basis.finite() and all(all_finite(x) for x in (source.mean, images, covariance) if x is not None)):
        raise SummandError("the statistics hold NaN or infinite numbers; make them again from a sound model")
    gram = basis.double()._gram()
    paths = gram.shape[-1]
    if images is not None and images.shape[-2] < paths:
        half = images
    elif images is not None:
        half = _root(images.transpose(-1, -2) @ images)
    else:
        assert covariance is not None
        half = _root(covariance)
    size = half.shape[-2]
    if not 1 <= components <= size:
        raise SummandError(f"these units have {size} components, not {components}")
    squares, vectors = torch.linalg.eigh(half @ gram @ half.transpose(-1, -2))
    squares, vectors = squares.flip(-1).clamp(min=0), vectors.flip(-1)
    total = squares.sum(dim=-1, keepdim=True)
    alive = squares > total * 1e-12
    inverse = torch.where(alive, squares, 1).rsqrt() * alive
    weights = (vectors.transpose(-1, -2) @ half * inverse[..., None])[..., :components, :]
    reading = weights @ gram  # [*unit, component, path]: ⟨effect, r⟩ of coefficients
    if images is None:
        flip = torch.einsum("...kp,...p->...k", reading, source.mean) < 0
    else:
        along = torch.einsum("...kp,...ip->...ki", reading, images)
        side = along.sign().sum(dim=-1)
        flip = torch.where(side == 0, along.sum(dim=-1), side) < 0
    weights = torch.where(flip[..., None], -weights, weights)
    explained = squares.cumsum(dim=-1) / torch.where(total > 0, total, 1)
    return RankOne(basis, weights, doubled(source.mean), explained)


def deviation(rank: RankOne, moments: Moments) -> Float[Tensor, "*unit"]:
    """√Var x_n over the images of the moments, through their covariance."""
    reading = rank.reading()[..., 0].to(moments.covariance.device)
    variance = torch.einsum("...p,...pq,...q->...", reading, moments.covariance, reading)
    return variance.clamp(min=0).sqrt()


def _root(scatter: Float[Tensor, "*unit path path2"]) -> Float[Tensor, "*unit path path2"]:
    """The symmetric root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(scatter)
    return vectors * values.clamp(min=0).sqrt()[..., None, :] @ vectors.transpose(-1, -2)
