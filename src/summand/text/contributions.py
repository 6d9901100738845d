"""Which words take part: in a direction, and in an image, through the sparse codes of units (paper A)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import SummandError
from ..towers.finite import check_finite
from ..towers.precision import doubled


@torch.no_grad()
def words_of_directions(
    towards: Float[Tensor, "direction embed"],
    units: Float[Tensor, "unit embed"],
    indices: Int[Tensor, "unit size"],
    coefficients: Float[Tensor, "unit size"],
    words: int,
    top: int | None = 100,
) -> Float[Tensor, "direction word"]:
    r"""w_j^v = Σ_{n ∈ N} γ_j^n ⟨v, r_n⟩, N being the `top` units of largest |⟨v, r_n⟩|; None for all units.

    towards: the directions v, such as the difference of two class texts. units: r_n. indices, coefficients γ: their
    sparse codes, from `sparse_code`. words: how many the pool has. Equal |⟨v, r_n⟩| go to the first units. A `top`
    larger than the number of units takes them all.

    Raises `SummandError` for a `top` below 1, shapes that do not fit, and indices outside of the pool.
    Source: paper A (Gandelsman et al., ICLR 2025), Eq. 6.
    """
    if towards.ndim != 2 or units.ndim != 2 or towards.shape[1] != units.shape[1]:
        raise SummandError(
            f"directions [direction, embed] and units [unit, embed] must share embed; "
            f"got {list(towards.shape)} and {list(units.shape)}"
        )
    if top is not None and top < 1:
        raise SummandError(f"at least 1 unit must take part, got top={top}")
    check_finite(towards, "direction", "encode the texts again")
    check_finite(units, "unit", "make the units' directions again from a sound model")
    along = doubled(towards) @ doubled(units).T
    if top is not None and top < along.shape[1]:
        chosen = along.abs().argsort(dim=1, descending=True, stable=True)[:, :top]
        along = torch.zeros_like(along).scatter(1, chosen, along.gather(1, chosen))
    return _spread(along, indices, coefficients, words)


@torch.no_grad()
def words_of_images(
    norms: Float[Tensor, "image unit"],
    active: Bool[Tensor, "image unit"],
    indices: Int[Tensor, "unit size"],
    coefficients: Float[Tensor, "unit size"],
    words: int,
    power: int = 2,
) -> Float[Tensor, "image word"]:
    r"""w_j^I = Σ_{n ∈ N(I)} γ_j^n ‖φ_n(I)‖^power.

    norms: ‖φ_n(I)‖ for power=2, the paper's formula; the released notebook has the centred norm ‖φ_n(I) − φ̄_n‖ with
    power=1. active: N(I), the units whose centred norm exceeds their threshold of significance (the 98th percentile,
    `TopImages.quantile(0.98)`). indices, coefficients γ, words: as for `words_of_directions`.

    Raises `SummandError` for a power other than 1 and 2, shapes that do not fit, and indices outside of the pool.
    Source: paper A (Gandelsman et al., ICLR 2025), appendix A.5.
    """
    if power not in (1, 2):
        raise SummandError(f"power must be 2 (the paper's formula) or 1 (its notebook), got {power}")
    if norms.shape != active.shape:
        raise SummandError(f"norms {list(norms.shape)} and active {list(active.shape)} must both be [image, unit]")
    return _spread(torch.where(active, doubled(norms) ** power, 0), indices, coefficients, words)


@torch.no_grad()
def texts_of_images(
    amounts: Float[Tensor, "image unit"],
    indices: Int[Tensor, "unit size"],
    coefficients: Float[Tensor, "unit size"],
    words: int,
) -> Float[Tensor, "image word"]:
    r"""w_j = Σ_n γ_j^n x_n(I), signed: how much of text j the units together write into the image's representation.

    amounts: x_n(I) = ⟨φ_n(I) − b_n, r_n⟩, from `RankOne.project`. This is exact book-keeping:
    Σ_j w_j a_j = Σ_n x_n(I) r̂_n, for the atoms a_j that the codes were made from. indices, coefficients γ, words: as
    for `words_of_directions`.
    """
    return _spread(doubled(amounts), indices, coefficients, words)


def _spread(weights: Tensor, indices: Tensor, coefficients: Tensor, words: int) -> Tensor:
    """Σ_n weights[row, n] γ^n on the words of the pool, row by row: nothing of size [unit, word] is built."""
    if indices.shape != coefficients.shape or indices.ndim != 2 or weights.shape[1] != len(indices):
        raise SummandError(
            f"indices and coefficients must be [unit, size] for {weights.shape[1]} units, "
            f"got {list(indices.shape)} and {list(coefficients.shape)}"
        )
    if indices.numel() and int(indices.max()) >= words:
        raise SummandError(f"the codes name word {int(indices.max())} of a pool of {words}; give the pool they are of")
    check_finite(weights, "row", "check the images and the model")
    check_finite(coefficients, "code", "make the sparse codes again")
    used = torch.where(indices >= 0, indices, 0)  # −1 stands where a code needed fewer words
    parts = doubled(torch.where(indices >= 0, coefficients, 0))
    used, weights = used.to(parts.device), weights.to(parts.device)
    total = weights.new_zeros(len(weights), words)
    for row, amounts in zip(total, weights, strict=True):
        taking_part = amounts.nonzero()[:, 0]
        share = amounts[taking_part, None] * parts[taking_part]
        row.index_add_(0, used[taking_part].flatten(), share.flatten())
    return total.to(coefficients)
