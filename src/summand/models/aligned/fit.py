"""A linear map between two embeddings of the same images: ridge regression in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...towers.precision import doubled

RIDGES = tuple(10.0**power for power in range(-6, 3))
"""λ, in units of the features' mean variance."""
_OF_TEN = 10
_CHOSEN_ON, _REPORTED_ON = 5, 9  # of every ten images, in their order
_EACH = 2
_TINY = 1e-300


@dataclass(frozen=True)
class Fit:
    """v ↦ v W + b. ridge: λ, which was best on held-out images; cosine: mean cosine to the targets on others, that
    nothing was chosen by; of_mean: the same of the targets' mean, which knows no image; explained: the share of what
    the targets differ from it that the map says, 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖². fitted: number of images; reported: which
    of all images the numbers are of."""

    weight: Float[Tensor, "width embed"]
    bias: Float[Tensor, " embed"]
    ridge: float
    cosine: float
    of_mean: float
    explained: float
    fitted: int
    reported: tuple[int, ...]


def needed(width: int) -> int:
    """How many images a map of so many features is fitted on: two for every feature, and a fifth more, held out."""
    return ceil(_EACH * width * _OF_TEN / (_OF_TEN - 2))


def fit(
    features: Float[Tensor, "image width"],
    targets: Float[Tensor, "image embed"],
    ridges: Sequence[float] = RIDGES,
) -> Fit:
    r"""W = (X̃ᵀX̃ + λ n v̄ I)⁻¹ X̃ᵀỸ, b = ȳ − x̄ W: X the features, Y the targets at unit norm, both centred, v̄ the
    features' mean variance.

    Of every ten images eight are fitted on, one chooses λ and one reports. Raises `SummandError` for too few images,
    and for features or targets that are not finite.
    """
    images, width = features.shape
    if images < needed(width):
        raise SummandError(
            f"{images} images are too few for a map of {width} features: give at least {needed(width)} (two for every "
            f"feature, and a fifth more, which are held out)"
        )
    x, y = doubled(features), F.normalize(doubled(targets), dim=1)
    if not bool(x.isfinite().all() and y.isfinite().all()):
        raise SummandError("the features hold NaN or infinite numbers; check the images and both models")
    place = torch.arange(images, device=x.device) % _OF_TEN
    chooses, reports = place == _CHOSEN_ON, place == _REPORTED_ON
    own = ~(chooses | reports)
    mean, centre = x[own].mean(dim=0), y[own].mean(dim=0)
    near = x[own] - mean
    sizes, axes = torch.linalg.eigh(near.T @ near)
    turned = axes.T @ (near.T @ (y[own] - centre))
    variance = sizes.mean()
    if not variance > 0:
        raise SummandError("the vision model gives every image the same features, so no map can be fitted")

    def weights(ridge: float) -> Tensor:
        return axes @ (turned / (sizes.clamp(min=0) + ridge * variance)[:, None])

    def cosine(weight: Tensor, some: Tensor) -> float:
        return float(F.cosine_similarity((x[some] - mean) @ weight + centre, y[some], dim=1).mean())

    def missed(weight: Tensor) -> float:
        return float(((x[reports] - mean) @ weight + centre - y[reports]).square().sum())

    best = max(ridges, key=lambda ridge: cosine(weights(ridge), chooses))
    weight = weights(best)
    return Fit(
        weight.float(),
        (centre - mean @ weight).float(),
        best,
        cosine(weight, reports),
        cosine(torch.zeros_like(weight), reports),
        1 - missed(weight) / max(missed(torch.zeros_like(weight)), _TINY),
        int(own.sum()),
        tuple(reports.nonzero()[:, 0].tolist()),
    )
