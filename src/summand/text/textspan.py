"""TextSpan: the texts that span what a unit writes (paper C, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..statistics.moments import Moments
from ..towers.finite import all_finite, check_finite, power_of_two
from ..towers.precision import doubled

Criterion = Literal["variance", "explained"]
_PAPER_RANK = 80
_SMALLEST = 1e-6
_BLOCK = 2**22
_STEPS_BETWEEN_RENEWALS = 8


@names_wrong_arguments
@dataclass(frozen=True)
class TextSpan:
    """The chosen texts of each unit, in order.

    indices: into the pool, [*unit, chosen]; −1 once nothing of any text is left in the span of the unit (one of lower
    rank than the others, or always 0). explained: cumulative share of the unit's variance, [*unit, chosen].
    basis: the orthonormal directions that the texts added one after the other, [*unit, chosen, embed]; 0 for none.
    """

    indices: Int[Tensor, "*unit chosen"]
    explained: Float[Tensor, "*unit chosen"]
    basis: Float[Tensor, "*unit chosen embed"]

    def project(self, vectors: Float[Tensor, "image *unit embed"]) -> Float[Tensor, "image *unit embed"]:
        """Vectors (centred by their mean) projected on the span of the chosen texts."""
        along = torch.einsum("i...e,...ce->i...c", vectors.to(self.basis), self.basis)
        return torch.einsum("i...c,...ce->i...e", along, self.basis)

    def first(self, size: int) -> TextSpan:
        """The span of the first `size` texts: the choice is greedy, so it is that of a smaller TextSpan."""
        if size < 1:
            raise SummandError(f"size must be at least 1, got {size}")
        return TextSpan(self.indices[..., :size], self.explained[..., :size], self.basis[..., :size, :])


@names_wrong_arguments
def textspan(
    source: Moments | Float[Tensor, "image *unit embed"],
    texts: Float[Tensor, "text embed"],
    size: int = 60,
    *,
    criterion: Criterion = "variance",
    rank: int | None = None,
    parity: Literal["paper"] | None = None,
) -> TextSpan:
    r"""Repeat: j* = argmax_j Var⟨c − c̄, R_j⟩; then project R_{j*} away from the outputs c and from all texts R.

    c are the outputs of a unit and R the texts projected once on the span of c. Only second moments of c enter,
    Var⟨c, t⟩ = tᵀΣt, so from `Moments` the cost does not depend on the number of images.

    source: `Moments` of any units, or outputs [image, embed] or [image, *unit, embed]. texts: [text, embed], used as
    they are (not centred, not re-normalised, as published). criterion: "variance" is the paper's choice, which
    favours texts with a long projection; "explained" divides by ‖R_j‖² and so picks the text that explains most
    (the greedy maximiser of Eq. 7). rank: dimensions of the span to keep; by default all that the unit has (the
    head's own dimension). parity="paper": the published code's rank of 80.

    At most as many texts are chosen as the span has dimensions. Ties go to the first text of the pool. Worked out in
    fp64, in blocks of units.

    Raises `SummandError` for an empty pool, shapes that do not fit, fewer than two images, texts that are all zero, and
    NaN or infinite numbers, in the texts (naming the first) as in what is spanned.
    Source: paper C (Gandelsman et al., ICLR 2024), Algorithm 1.
    """
    if criterion not in ("variance", "explained"):
        raise SummandError(f"criterion must be 'variance' or 'explained', got {criterion!r}")
    if parity not in (None, "paper"):
        raise SummandError(f"parity must be None or 'paper', got {parity!r}")
    if texts.ndim != 2 or texts.shape[0] == 0:
        raise SummandError(f"texts must be [text, embed] with at least one text, got {list(texts.shape)}")
    if size < 1:
        raise SummandError(f"size must be at least 1, got {size}")
    if rank is not None and rank < 1:
        raise SummandError(f"rank must be at least 1, got {rank}")
    if parity == "paper" and rank is None:
        rank = _PAPER_RANK
    check_finite(texts, "text", "encode the texts again, or leave these out")
    if not texts.any():
        raise SummandError("every text is a vector of zeros, so nothing can be spanned; encode the texts again")
    texts = doubled(texts.detach())
    texts = texts / power_of_two(texts)
    span, covariance = _from_moments(source) if isinstance(source, Moments) else _from_outputs(source)
    if span.shape[-1] != texts.shape[1]:
        raise SummandError(f"texts have {texts.shape[1]} dimensions but the unit's effects have {span.shape[-1]}")
    texts = texts.to(span.device)
    units = span.shape[:-2]
    span, covariance = (
        span.flatten(0, -3) if units else span[None],
        covariance.flatten(0, -3) if units else covariance[None],
    )
    if rank is not None and rank < span.shape[1]:
        span, covariance = span[:, :rank], covariance[:, :rank, :rank]
    chosen = min(size, span.shape[1], len(texts))
    step = max(1, _BLOCK // (len(texts) * span.shape[1]))
    picks = [
        _greedy(c, _coordinates(texts, s), chosen, criterion)
        for s, c in zip(span.split(step), covariance.split(step), strict=True)
    ]
    indices, explained, within = (torch.cat(part) for part in zip(*picks, strict=True))
    basis = within @ span
    return TextSpan(
        indices.reshape(*units, chosen),
        explained.reshape(*units, chosen),
        basis.reshape(*units, chosen, texts.shape[1]),
    )


def _from_moments(moments: Moments) -> tuple[Tensor, Tensor]:
    """Orthonormal span [*unit, dimension, embed] and covariance in its coordinates, strongest dimension first.

    The span is that of the unit's directions, ordered by the second moment E[ccᵀ] as an SVD of the outputs would.
    """
    if moments.count < 2:
        raise SummandError(
            f"TextSpan needs the moments of at least 2 images, got {moments.count}; update them with more images"
        )
    if not (moments.basis.finite() and all_finite(moments.mean) and all_finite(moments.covariance)):
        raise SummandError("the moments hold NaN or infinite numbers; make them again from a sound model")
    basis = moments.basis.double()._whole()
    orthonormal, mixing = torch.linalg.qr(basis.transpose(-1, -2))  # basisᵀ = orthonormal @ mixing
    span = orthonormal.transpose(-1, -2)
    covariance = mixing @ moments.covariance @ mixing.transpose(-1, -2)
    mean = torch.einsum("...dp,...p->...d", mixing, moments.mean)
    second = covariance + mean[..., :, None] * mean[..., None, :]
    values, vectors = torch.linalg.eigh(second)
    turn = vectors.flip(-1) * _alive(values.flip(-1), _SMALLEST**2)[..., None, :]  # columns, largest first
    return turn.transpose(-1, -2) @ span, turn.transpose(-1, -2) @ covariance @ turn


def _from_outputs(outputs: Tensor) -> tuple[Tensor, Tensor]:
    if outputs.ndim < 2 or outputs.shape[0] < 2:
        raise SummandError(f"outputs must be [image, *unit, embed] with at least 2 images, got {list(outputs.shape)}")
    rows = doubled(outputs.detach()).movedim(0, -2)  # [*unit, image, embed]
    check_finite(outputs.flatten(1), "image", "check the model, or leave these images out")
    _, sizes, right = torch.linalg.svd(rows, full_matrices=False)
    alive = _alive(sizes, _SMALLEST)
    dimensions = max(1, int(alive.sum(dim=-1).max()))
    span = (right * alive[..., None])[..., :dimensions, :]
    coordinates = (rows - rows.mean(dim=-2, keepdim=True)) @ span.transpose(-1, -2)
    return span, coordinates.transpose(-1, -2) @ coordinates / rows.shape[-2]


def _coordinates(texts: Tensor, span: Tensor) -> Tensor:
    """⟨text, direction⟩, [unit, text, d], in one product: a batched one would copy the texts for every unit."""
    return (texts @ span.flatten(0, 1).T).unflatten(1, span.shape[:2]).transpose(0, 1).contiguous()


def _alive(sizes: Tensor, smallest: float) -> Tensor:
    """Which dimensions are more than rounding, given their sizes, largest first: the others are no part of the span."""
    return (sizes > sizes[..., :1] * smallest) & (sizes > 0)


def _greedy(covariance: Tensor, texts: Tensor, chosen: int, criterion: Criterion) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 1 in the coordinates of the span, for a block of units: covariance [unit, d, d], texts [unit, text, d]
    → indices [unit, chosen], cumulative share of variance [unit, chosen], orthonormal basis [unit, chosen, d].

    The texts are not deflated one by one. With q the new direction, P the projection away from the earlier ones and
    t' = Pt, the next variances are t'ᵀΣt' − 2 (t·q)(t·PΣq) + (t·q)² qᵀΣq and the next lengths ‖t'‖² − (t·q)²: one
    product of the texts with two vectors. Every few steps both are computed anew, so that rounding does not add up.
    """
    units, count, dimensions = texts.shape
    rows = torch.arange(units, device=texts.device)
    total = covariance.diagonal(dim1=1, dim2=2).sum(dim=1)
    whole = texts.square().sum(dim=2)
    taken = torch.zeros(units, count, dtype=torch.bool, device=texts.device)
    indices = torch.full((units, chosen), -1, dtype=torch.long, device=texts.device)
    added, basis = texts.new_zeros(units, chosen), texts.new_zeros(units, chosen, dimensions)
    variance = length = whole
    for step in range(chosen):
        done = basis[:, :step]
        if step % _STEPS_BETWEEN_RENEWALS == 0:
            left = texts - texts @ done.transpose(1, 2) @ done
            variance, length = ((left @ covariance) * left).sum(dim=2), left.square().sum(dim=2)
            del left
        score = variance if criterion == "variance" else variance / length.clamp(min=torch.finfo(length.dtype).tiny)
        score = score.masked_fill(taken | (length <= whole * _SMALLEST**2), -torch.inf)
        value, best = score.max(dim=1)
        found = value > -torch.inf
        direction = texts[rows, best]
        for _ in range(2):
            direction = direction - ((done @ direction[..., None]) * done).sum(dim=1)
        direction = torch.nn.functional.normalize(direction, dim=1) * found[:, None]
        spread = (covariance @ direction[..., None])[..., 0]
        added[:, step] = (direction * spread).sum(dim=1)
        basis[:, step] = direction
        indices[:, step] = torch.where(found, best, -1)
        taken[rows, best] = True
        away = spread - ((done @ spread[..., None]) * done).sum(dim=1)
        along, joint = (texts @ torch.stack([direction, away], dim=2)).unbind(dim=2)
        variance = variance - 2 * along * joint + along.square() * added[:, step, None]
        length = length - along.square()
    share = added.cumsum(dim=1) / total.clamp(min=torch.finfo(total.dtype).tiny)[:, None]
    return indices, share, basis
