"""What a description is worth: does it predict the unit on images that it was not made from?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import SummandError
from ..progress import Progress
from ..towers.finite import all_finite, check_finite
from ..towers.precision import as_written, doubled

Verdict = Literal["supported", "no evidence", "untested"]

DRAWS = 40
"""Random descriptions that each description is compared with."""
SHARE = 0.02
"""Of the held-out images, those of largest signal are to be found."""

_FEWEST_IMAGES, _UNITS_AT_ONCE = 3, 4096
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

    score: of the description. own: of r_n itself in its place, the most that words can reach. random: means over the
    random descriptions. threshold: the 95th percentile of their correlations. supported: the description's own lies
    above it, and in the right direction.
    """

    score: HeldOut
    own: HeldOut
    random: HeldOut
    threshold: Float[Tensor, " unit"]

    @property
    def supported(self) -> Bool[Tensor, " unit"]:
        return (self.score.correlation > self.threshold) & (self.score.correlation > 0)

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
    signal: Float[Tensor, "image unit"], predicted: Float[Tensor, "image unit"], share: float = SHARE
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
        _scores(doubled(s.T), doubled(p.T), positives)
        for s, p in zip(signal.split(step, dim=1), predicted.split(step, dim=1), strict=True)
    ]
    correlation, auc, count = (torch.cat(part) for part in zip(*parts, strict=True))
    return HeldOut(correlation, auc, count)


@torch.no_grad()
@as_written
def random_scores(
    signal: Float[Tensor, "image unit"],
    images: Float[Tensor, "image embed"],
    targets: Float[Tensor, "unit embed"],
    size: int,
    atoms: Float[Tensor, "atom embed"],
    *,
    draws: int = DRAWS,
    share: float = SHARE,
    seed: int = 0,
) -> HeldOut:
    """`held_out` of descriptions by `size` random texts, each fitted to its unit as well as these texts can be.

    A draw takes texts without replacement, the same for all units, with the least-squares weights of r_n on them: it is
    fitted just as a label is, but its texts are not chosen. images: M(I), centred. targets: r_n. atoms: prepared as for
    the codes. Correlation and AUC come as [draw, unit].

    Raises `SummandError` for less than one draw, more texts than atoms, and whatever `held_out` refuses.
    """
    if draws < 1:
        raise SummandError(f"random scores need at least 1 draw, got {draws}")
    if size > len(atoms):
        raise SummandError(f"descriptions of {size} texts cannot be drawn from {len(atoms)}; give a larger pool")
    images, targets = doubled(images), doubled(targets)
    found = []
    for draw in range(draws):
        chosen = np.random.default_rng([seed + draw, 7]).choice(len(atoms), size=size, replace=False)
        basis = _span(doubled(atoms[chosen]))
        found.append(held_out(signal, (images @ basis) @ (basis.T @ targets.T), share))
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
    targets: Float[Tensor, "unit embed"],
    indices: Int[Tensor, "unit size"],
    coefficients: Float[Tensor, "unit size"],
    atoms: Float[Tensor, "atom embed"],
    *,
    draws: int = DRAWS,
    share: float = SHARE,
    seed: int = 0,
    progress: bool | None = False,
) -> Evidence:
    """Is corr(x_n, ⟨M(I), Σ_k γ_k a_k⟩) above the 95th percentile of the same with random texts, fitted as well?

    signal: x_n on held-out images; images: M(I)/‖M(I)‖ of the same, centred. targets: r_n. indices, coefficients: of
    the description, −1 where it needs fewer texts; atoms as from `prepare_atoms`. Of many units that mean nothing 1 in
    20 passes.
    """
    images, atoms = doubled(images), doubled(atoms)
    parts: list[tuple[HeldOut, HeldOut, HeldOut, Tensor]] = []
    with Progress("evidence", len(targets), "units", progress) as bar:
        for start in range(0, len(targets), _UNITS_AT_ONCE):
            some = slice(start, start + _UNITS_AT_ONCE)
            truth, aims = doubled(signal[:, some]), doubled(targets[some])
            weights = torch.where(indices[some] >= 0, doubled(coefficients[some]), 0)
            said = torch.einsum("ut,ute->ue", weights, atoms[indices[some].clamp(min=0)])
            random = random_scores(truth, images, aims, indices.shape[1], atoms, draws=draws, share=share, seed=seed)
            means = HeldOut(random.correlation.mean(dim=0), random.auc.mean(dim=0), random.positives)
            score, own = (held_out(truth, images @ direction.T, share) for direction in (said, aims))
            parts.append((score, own, means, random.correlation.quantile(0.95, dim=0)))
            bar.update(len(aims))
    score, own, random, threshold = zip(*parts, strict=True)
    return Evidence(_joined(score), _joined(own), _joined(random), torch.cat(threshold))


def _joined(parts: Sequence[HeldOut]) -> HeldOut:
    columns = zip(*((part.correlation, part.auc, part.positives) for part in parts), strict=True)
    return HeldOut(*(torch.cat(column, dim=-1) for column in columns))


def _span(atoms: Float[Tensor, "text embed"]) -> Float[Tensor, "embed dimension"]:
    """An orthonormal basis of what some texts span: projection on it is the least-squares fit."""
    _, sizes, rows = torch.linalg.svd(atoms, full_matrices=False)
    return rows[sizes > 1e-9 * sizes[0]].T


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
    ranks = doubled(below + not_above + 1) / 2  # from 1; the mean over equal predictions
    surplus = (ranks * found).sum(dim=1) - count * (count + 1) / 2
    return correlation, surplus / (count * (signal.shape[1] - count)), count  # 0/0 = NaN without negatives


def _standard(rows: Tensor) -> Tensor:
    """Rows centred and of unit length; NaN where a row is constant."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    constant = rows.amax(dim=1, keepdim=True) == rows.amin(dim=1, keepdim=True)
    return centred / torch.where(constant, torch.nan, length)
