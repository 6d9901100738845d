"""Directions of a head that are found before they are named: components of its covariance along texts, rotated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.stats import f as fisher
from torch import Tensor

from ..statistics.moments import Moments

MOST = 8
"""Components of a head at most."""

_CARRIED = 0.9  # of the head's variance along the texts: what is left out is too small to have a rotation of its own
_STEPS, _CLOSE, _TINY = 200, 1e-10, torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Components:
    r"""Uncorrelated directions of one unit: x_k = ⟨φ − b, d_k⟩, of unit variance.

    directions: d_k. reading: B d_k, so that x_k = (c − c̄)ᵀ reading_k. share: ‖Cov(φ, x_k)‖² / tr Cov(φ), the share of
    the unit's whole variance that x_k carries; shares add up. Largest share first.
    """

    directions: Float[Tensor, "component embed"]
    reading: Float[Tensor, "component path"]
    share: Float[Tensor, " component"]


@torch.no_grad()
def components(moments: Moments, texts: Float[Tensor, "text embed"], most: int = MOST) -> list[Components]:
    r"""For every unit, in order: the principal components of ⟨φ − b, t⟩ over the texts t, after a varimax rotation.

    With Q = Σ_t t tᵀ of the centred texts: K = Σ^½ B Q Bᵀ Σ^½ = U Λ Uᵀ; x = (c − c̄) Σ^{−½} U, whose loadings on the
    texts are T Bᵀ Σ^½ U; these are rotated until each component loads on few texts (Kaiser 1958), so that an end of
    a component is one thing and not a mixture. Only moments enter. A unit that writes nothing along the texts has none.
    """
    centred = (texts - texts.mean(dim=0)).double()
    basis = moments.basis.double().dense().flatten(0, -3)
    covariances = moments.covariance.flatten(0, -3)
    return [_of_unit(covariance, own, centred, most) for covariance, own in zip(covariances, basis, strict=True)]


def _of_unit(covariance: Tensor, basis: Tensor, texts: Tensor, most: int) -> Components:
    sizes, axes = torch.linalg.eigh(covariance)
    root = axes * sizes.clamp(min=0).sqrt() @ axes.T
    along = root @ basis @ texts.T  # [path, text]
    left, strengths, _ = torch.linalg.svd(along, full_matrices=False)
    variance = strengths.square()
    total = variance.sum()
    floor = torch.finfo(variance.dtype).eps ** 0.5 * total
    kept = min(most, int((variance.cumsum(0) < _CARRIED * total).sum()) + 1, int((variance > floor).sum()))
    left, variance = left[:, :kept], variance[:kept]
    turn = varimax(along.T @ left) if kept > 1 else torch.eye(kept, dtype=left.dtype)
    # d = Q Bᵀ Σ^½ u / λ, for which B d = Σ^{−½} u
    directions = (texts.T @ (along.T @ left) / variance.clamp(min=_TINY)) @ turn
    carried = basis.T @ (root @ (left @ turn))  # Cov(φ, x_k), [embed, component]
    whole = (covariance * (basis @ basis.T)).sum().clamp(min=_TINY)
    share = carried.square().sum(dim=0) / whole
    order = share.argsort(descending=True, stable=True)
    directions = directions[:, order].T
    return Components(directions, directions @ basis.T, share[order])


@torch.no_grad()
def shares_of_kinds(
    coefficients: Float[Tensor, "image *unit path"],
    gram: Float[Tensor, "*unit path path2"],
    read: Mapping[str, Int[Tensor, " image"]],
) -> dict[str, Float[Tensor, "*unit"]]:
    r"""share(u, a) = (B − (k − 1) W) / Σ_i ‖φ_u(x_i) − φ̄‖²: how much of a unit's variance a property a explains.

    B = Σ_v n_v ‖φ̄_v − φ̄‖² between the images of its k values, as the model reads them, W = (Σ_i ‖φ_u(x_i) − φ̄‖² − B) /
    (n − k) within them: taking (k − 1) W away leaves 0 where the values do not matter, however many they are (ω²).
    """
    centred = coefficients.double() - coefficients.double().mean(dim=0)
    total = torch.einsum("i...p,...pq,i...q->...", centred, gram, centred)
    found = {}
    for name, codes in read.items():
        values, places = codes.unique(return_inverse=True)
        member = torch.nn.functional.one_hot(places, len(values)).double()  # [image, value]
        count = member.sum(dim=0)
        sums = torch.einsum("iv,i...p->v...p", member, centred)
        means = sums / count.reshape(-1, *[1] * (sums.ndim - 1))
        between = torch.einsum("v...p,...pq,v...q->...", sums, gram, means)
        degrees = max(1, len(codes) - len(values))
        share = (between - (len(values) - 1) * (total - between) / degrees) / total.clamp(min=_TINY)
        found[name] = share.clamp(min=0)
    return found


@torch.no_grad()
def limits_of_kinds(
    coefficients: Float[Tensor, "image *unit path"],
    gram: Float[Tensor, "*unit path path2"],
    read: Mapping[str, Int[Tensor, " image"]],
    error: float,
) -> dict[str, Float[Tensor, "*unit"]]:
    r"""What `shares_of_kinds` exceeds for any of these properties in a share `error` of units that none of them is of.

    Then F = (B / (k − 1)) / (W / (n − k)) has (k − 1) r and (n − k) r degrees of freedom, r = (tr Σ)² / tr Σ² the
    dimensions that the unit varies in (Dempster 1958, Box 1954); the share is (k − 1)(F − 1) / (n − k + (k − 1) F).
    """
    centred = coefficients.double() - coefficients.double().mean(dim=0)
    inner = torch.einsum("i...p,i...q,...qs->...ps", centred, centred, gram)
    trace = inner.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    squared = torch.einsum("...pq,...qp->...", inner, inner)
    dimensions = (trace.square() / squared.clamp(min=_TINY)).clamp(min=1)
    found = {}
    for name, codes in read.items():
        between = len(codes.unique()) - 1
        within = max(1, len(codes) - between - 1)
        level = 1 - error / len(read)
        bound = torch.from_numpy(fisher.ppf(level, max(1, between) * dimensions, within * dimensions)).to(trace)
        found[name] = between * (bound - 1) / (within + between * bound)
    return found


def varimax(loadings: Float[Tensor, "text component"]) -> Float[Tensor, "component component2"]:
    r"""argmax_R Σ_k Var_t (L R)²_tk over rotations R (Kaiser 1958), by the usual iteration of singular vectors."""
    turn = torch.eye(loadings.shape[1], dtype=loadings.dtype, device=loadings.device)
    before = 0.0
    for _ in range(_STEPS):
        turned = loadings @ turn
        slope = loadings.T @ (turned**3 - turned * turned.square().mean(dim=0))
        left, sizes, right = torch.linalg.svd(slope)
        turn = left @ right
        now = float(sizes.sum())
        if now <= before * (1 + _CLOSE):
            break
        before = now
    return turn
