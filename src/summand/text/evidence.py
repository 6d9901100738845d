"""What a description is worth: does it predict the unit on images that it was not made from?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..errors import SummandError
from ..towers.finite import all_finite, check_finite
from ..towers.precision import as_written

Verdict = Literal["supported", "no evidence", "untested"]

_FEWEST_IMAGES = 3
_BLOCK = 2**22


@dataclass(frozen=True)
class HeldOut:
    """How well predictions fit the units' coefficients on held-out images.

    correlation: Pearson's, signed. auc: area under the ROC curve of finding the images with the largest signal; half is
    chance. positives: how many images these are. correlation is NaN where signal or prediction is constant; auc is NaN
    where the signal is.
    """

    correlation: Float[Tensor, "*draw unit"]
    auc: Float[Tensor, "*draw unit"]
    positives: Int[Tensor, " unit"]


@dataclass(frozen=True)
class Evidence:
    """The score of each unit's description next to that of random descriptions (`random_scores`).

    threshold: the 95th percentile of the random correlations. supported: the description's own lies above it.
    """

    score: HeldOut
    random: HeldOut
    threshold: Float[Tensor, " unit"]
    supported: Bool[Tensor, " unit"]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """A word for each unit. "untested": the unit, or what its description predicts, is the same on all images."""
        untested = self.score.correlation.isnan() | self.threshold.isnan()
        return tuple(
            "untested" if nothing else "supported" if good else "no evidence"
            for nothing, good in zip(untested.tolist(), self.supported.tolist(), strict=True)
        )


@torch.no_grad()
def held_out(
    signal: Float[Tensor, "image unit"], predicted: Float[Tensor, "image unit"], share: float = 0.02
) -> HeldOut:
    r"""corr(s, p) = ⟨s − s̄, p − p̄⟩ / (‖s − s̄‖ ‖p − p̄‖);  auc = P(p⁺ > p⁻) + P(p⁺ = p⁻) / 2.

    signal: the unit's signed coefficient, ⟨φ(I) − φ̄, r⟩. predicted: what the description says about the image,
    ⟨M(I), r̂⟩, r̂ being the description's own text direction. Positives are the k = max(1, round(share · images))
    images of largest signal; where the k-th and the next are equal, only those above them, and where there are none
    above, all the equal ones, so that the order of images does not matter. Equal predictions count half (mid-ranks).
    Computed in fp64, in blocks of units.

    Raises `SummandError` for fewer than 3 images, a share outside (0, 1) or with no negatives left, shapes that differ,
    and non-finite numbers.
    """
    positives = _check(signal, predicted, share)
    step = max(1, _BLOCK // len(signal))
    parts = [
        _scores(s.T.double(), p.T.double(), positives)
        for s, p in zip(signal.split(step, dim=1), predicted.split(step, dim=1), strict=True)
    ]
    correlation, auc, count = (torch.cat(part) for part in zip(*parts, strict=True))
    return HeldOut(correlation, auc, count)


@torch.no_grad()
@as_written
def random_scores(
    signal: Float[Tensor, "image unit"],
    images: Float[Tensor, "image embed"],
    coefficients: Float[Tensor, "unit size"],
    atoms: Float[Tensor, "atom embed"],
    *,
    draws: int = 20,
    share: float = 0.02,
    seed: int = 0,
) -> HeldOut:
    """`held_out` of descriptions Σ_k γ_k a_{π(k)}: the unit's own weights on as many texts drawn at random.

    images: M(I). coefficients: of the units' sparse codes; a weight of 0 is a text that is not there. atoms: prepared
    as for the codes. Each draw permutes the atoms once and gives every unit a window of the permutation, from an offset
    of its own, so that the texts of a description differ and none is likelier than another. Correlation and AUC come as
    [draw, unit].

    Raises `SummandError` for less than one draw, more texts than atoms, and whatever `held_out` refuses.
    """
    units, size = coefficients.shape
    if draws < 1:
        raise SummandError(f"random scores need at least 1 draw, got {draws}")
    if size > len(atoms):
        raise SummandError(f"descriptions of {size} texts cannot be drawn from {len(atoms)}; give a larger pool")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        order = torch.randperm(len(atoms), generator=generator)
        offsets = torch.randint(len(atoms), (units, 1), generator=generator)
        texts = order[(offsets + torch.arange(size)) % len(atoms)].to(atoms.device)
        directions = F.embedding_bag(texts, atoms, mode="sum", per_sample_weights=coefficients.to(atoms))
        found.append(held_out(signal, images.to(atoms) @ directions.T, share))
    return HeldOut(
        torch.stack([score.correlation for score in found]),
        torch.stack([score.auc for score in found]),
        found[0].positives,
    )


@torch.no_grad()
@as_written
def evidence(
    signal: Float[Tensor, "image unit"],
    images: Float[Tensor, "image embed"],
    coefficients: Float[Tensor, "unit size"],
    reconstruction: Float[Tensor, "unit embed"],
    atoms: Float[Tensor, "atom embed"],
    *,
    draws: int = 20,
    share: float = 0.02,
    seed: int = 0,
) -> Evidence:
    """Is corr(s, ⟨M(I), r̂⟩) above the 95th percentile of the same with random texts?

    coefficients and reconstruction as from `sparse_code`, atoms as from `prepare_atoms`; the rest as for `held_out` and
    `random_scores`. The percentile is the next larger draw, never one in between: with 20 draws the largest, so that
    a description of random texts passes with probability 1/21. Of many units that mean nothing 1 in 20 passes.
    """
    score = held_out(signal, images @ reconstruction.to(images).T, share)
    random = random_scores(signal, images, coefficients, atoms, draws=draws, share=share, seed=seed)
    threshold = random.correlation.quantile(0.95, dim=0, interpolation="higher")
    return Evidence(score, random, threshold, score.correlation > threshold)


def _check(signal: Tensor, predicted: Tensor, share: float) -> int:
    if signal.ndim != 2 or signal.shape != predicted.shape:
        raise SummandError(
            f"signal and prediction must both be [image, unit], got {list(signal.shape)} and {list(predicted.shape)}"
        )
    images = len(signal)
    if images < _FEWEST_IMAGES:
        raise SummandError(f"a score needs at least {_FEWEST_IMAGES} held-out images, got {images}; hold out more")
    if not 0 < share < 1:
        raise SummandError(f"the share of images to find must lie between 0 and 1, got {share}")
    positives = max(1, round(share * images))
    if positives >= images:
        raise SummandError(f"a share of {share} of {images} images leaves none to tell apart; give a smaller one")
    check_finite(signal, "held-out image", "leave these images out, and check the model")
    if not all_finite(predicted):
        raise SummandError(
            "what the descriptions predict holds NaN or infinite numbers; make images, coefficients and atoms again"
        )
    return positives


def _scores(signal: Tensor, predicted: Tensor, positives: int) -> tuple[Tensor, Tensor, Tensor]:
    """signal, predicted: [unit, image] in fp64."""
    correlation = (_standard(signal) * _standard(predicted)).sum(dim=1).clamp(-1, 1)
    next_largest = signal.topk(positives + 1, dim=1).values[:, -1:]
    found = signal > next_largest
    found = torch.where(found.any(dim=1, keepdim=True), found, signal == next_largest)
    count = found.sum(dim=1)
    ordered, values = predicted.sort(dim=1).values.contiguous(), predicted.contiguous()
    below = torch.searchsorted(ordered, values)
    not_above = torch.searchsorted(ordered, values, right=True)
    ranks = (below + not_above + 1).double() / 2  # from 1; the mean over equal predictions
    surplus = (ranks * found).sum(dim=1) - count * (count + 1) / 2
    return correlation, surplus / (count * (signal.shape[1] - count)), count  # 0/0 = NaN without negatives


def _standard(rows: Tensor) -> Tensor:
    """Rows centred and of unit length; NaN where a row is constant."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    constant = rows.amax(dim=1, keepdim=True) == rows.amin(dim=1, keepdim=True)
    return centred / torch.where(constant, torch.nan, length)
