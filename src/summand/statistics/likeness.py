"""How alike some images are, whether they are two things, and which units do the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

_STEPS = 20
_BLOCK = 2048


def clarity(images: Float[Tensor, "*unit image embed"]) -> Float[Tensor, "*unit"]:
    r"""1/(k (k − 1)) Σ_{i≠j} cos(e_i, e_j) of the k images of a unit: 1 where all are alike (SemanticLens, Dreyer et
    al. 2025). Of embeddings less their mean over all images it is 0 for images that were drawn at random."""
    unit = F.normalize(images, dim=-1)
    count = images.shape[-2]
    return (unit.sum(dim=-2).square().sum(dim=-1) - count) / (count * (count - 1))


@dataclass(frozen=True)
class Halves:
    """Images split into the two groups that are most alike within. within, between: the mean cosine of two images of
    one group, and of two groups."""

    within: Float[Tensor, " unit"]
    between: Float[Tensor, " unit"]
    side: Bool[Tensor, "unit image"]


def halves(images: Float[Tensor, "unit image embed"]) -> Halves:
    """Spherical 2-means (Lloyd's steps from the two sides of the first principal component), and how alike the images
    of its groups are. A group of one image has no pair within."""
    unit = F.normalize(images, dim=-1)
    centred = unit - unit.mean(dim=-2, keepdim=True)
    axis = torch.linalg.svd(centred, full_matrices=False).Vh[:, 0]
    side = torch.einsum("uie,ue->ui", centred, axis) > 0
    for _ in range(_STEPS):
        share = side.to(unit)
        means = [F.normalize(torch.einsum("ui,uie->ue", some, unit), dim=-1) for some in (share, 1 - share)]
        one, other = (torch.einsum("uie,ue->ui", unit, mean) for mean in means)
        if torch.equal(moved := one > other, side):
            break
        side = moved
    cosines = unit @ unit.transpose(1, 2)
    same = side[:, :, None] == side[:, None]
    apart = ~same
    same = same & ~torch.eye(side.shape[1], dtype=torch.bool)
    return Halves(_mean(cosines, same), _mean(cosines, apart), side)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum(dim=(1, 2)) / chosen.sum(dim=(1, 2)).clamp(min=1)


def twins(
    signals: Float[Tensor, "image unit"], directions: Float[Tensor, "unit embed"]
) -> tuple[Float[Tensor, " unit"], Int[Tensor, " unit"]]:
    r"""max_m corr(x_n, x_m) cos(r_n, r_m), and which m: the cosine of the effects (x_n − x̄_n) r_nᵀ of two units over
    all images, 1 where both write the same on every image."""
    varying = F.normalize(signals - signals.mean(dim=0), dim=0)
    unit = F.normalize(directions, dim=1)
    best, which = [], []
    for start in range(0, len(unit), _BLOCK):
        some = slice(start, start + _BLOCK)
        alike = (varying[:, some].T @ varying) * (unit[some] @ unit.T)
        rows = torch.arange(len(alike))
        alike[rows, rows + start] = -torch.inf
        found = alike.max(dim=1)
        best.append(found.values)
        which.append(found.indices)
    return torch.cat(best), torch.cat(which)
