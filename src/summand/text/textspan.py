"""TextSpan: the texts that span what a unit writes (paper C, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import SummandError
from ..moments import Moments

Criterion = Literal["variance", "explained"]
_PAPER_RANK = 80


@dataclass(frozen=True)
class TextSpan:
    """The chosen texts of each unit, in order.

    indices: into the pool, [*unit, chosen]. explained: cumulative share of the unit's variance, [*unit, chosen].
    basis: the orthonormal directions that the texts added one after the other, [*unit, chosen, embed].
    """

    indices: Int[Tensor, "*unit chosen"]
    explained: Float[Tensor, "*unit chosen"]
    basis: Float[Tensor, "*unit chosen embed"]

    def project(self, vectors: Float[Tensor, "image *unit embed"]) -> Float[Tensor, "image *unit embed"]:
        """Vectors (centred by their mean) projected on the span of the chosen texts."""
        return torch.einsum("i...e,...ce,...cf->i...f", vectors.to(self.basis), self.basis, self.basis)


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

    At most as many texts are chosen as the span has dimensions. Ties go to the first text of the pool.

    Raises `SummandError` for an empty pool, shapes that do not fit, fewer than two images, or non-finite numbers.
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
    if parity == "paper" and rank is None:
        rank = _PAPER_RANK
    texts = texts.detach().double()
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
    picks = [_greedy(c, texts @ s.T, chosen, criterion) for s, c in zip(span, covariance, strict=True)]
    indices = torch.stack([pick[0] for pick in picks])
    explained = torch.stack([pick[1] for pick in picks])
    basis = torch.stack([pick[2] @ s for pick, s in zip(picks, span, strict=True)])
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
        raise SummandError(f"TextSpan needs the moments of at least 2 images, got {moments.count}")
    basis = moments.directions.double()
    orthonormal, mixing = torch.linalg.qr(basis.transpose(-1, -2))  # basisᵀ = orthonormal @ mixing
    span = orthonormal.transpose(-1, -2)
    covariance = mixing @ moments.covariance @ mixing.transpose(-1, -2)
    mean = torch.einsum("...dp,...p->...d", mixing, moments.mean)
    second = covariance + mean[..., :, None] * mean[..., None, :]
    turn = torch.linalg.eigh(second).eigenvectors.flip(-1)  # columns, largest first
    return turn.transpose(-1, -2) @ span, turn.transpose(-1, -2) @ covariance @ turn


def _from_outputs(outputs: Tensor) -> tuple[Tensor, Tensor]:
    if outputs.ndim < 2 or outputs.shape[0] < 2:
        raise SummandError(f"outputs must be [image, *unit, embed] with at least 2 images, got {list(outputs.shape)}")
    rows = outputs.detach().double().movedim(0, -2)  # [*unit, image, embed]
    if not torch.isfinite(rows).all():
        raise SummandError("the outputs hold NaN or infinite numbers")
    _, sizes, right = torch.linalg.svd(rows, full_matrices=False)
    dimensions = max(1, int((sizes > sizes[..., :1] * 1e-6).sum(dim=-1).max()))
    span = right[..., :dimensions, :]
    coordinates = (rows - rows.mean(dim=-2, keepdim=True)) @ span.transpose(-1, -2)
    return span, coordinates.transpose(-1, -2) @ coordinates / rows.shape[-2]


def _greedy(covariance: Tensor, texts: Tensor, chosen: int, criterion: Criterion) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 1 in the coordinates of the span: covariance [d, d], texts [text, d] → indices [chosen], cumulative
    share of variance [chosen], orthonormal basis [chosen, d]."""
    total = covariance.diagonal().sum().clamp(min=torch.finfo(covariance.dtype).tiny)
    floor = texts.square().sum(dim=1).max() * 1e-18
    taken = torch.zeros(len(texts), dtype=torch.bool, device=texts.device)
    indices, shares, basis = [], [], []
    for _ in range(chosen):
        variance = ((texts @ covariance) * texts).sum(dim=1)
        length = texts.square().sum(dim=1)
        score = variance if criterion == "variance" else variance / length.clamp(min=floor.item())
        score = score.masked_fill(taken | (length <= floor), -torch.inf)
        best = int(score.argmax())
        direction = texts[best] / texts[best].norm().clamp(min=floor.sqrt().item())
        indices.append(best)
        shares.append(direction @ covariance @ direction)
        basis.append(direction)
        taken[best] = True
        texts = texts - (texts @ direction)[:, None] * direction
        away = covariance - torch.outer(direction, direction @ covariance)
        covariance = away - torch.outer(away @ direction, direction)
    return torch.tensor(indices, device=texts.device), torch.stack(shares).cumsum(0) / total, torch.stack(basis)
