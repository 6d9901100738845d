"""Sparse codes: a direction as a short weighted list of texts, by batched orthogonal matching pursuit (papers A, B)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..errors import SummandError

_BLOCK_BYTES = 512 * 2**20
_SWEEPS = 60


@dataclass(frozen=True)
class SparseCode:
    """Each target as Σ_j γ_j atom_j, the atoms in the order in which they were picked.

    indices: into the atoms, [target, size]; −1 (with coefficient 0) where a target needed fewer. coefficients γ:
    [target, size]. reconstruction r̂: [target, embed], not re-normalised. cosine: of the target with r̂, [target].
    """

    indices: Int[Tensor, "target size"]
    coefficients: Float[Tensor, "target size"]
    reconstruction: Float[Tensor, "target embed"]
    cosine: Float[Tensor, " target"]


def prepare_atoms(
    atoms: Float[Tensor, "atom embed"], centre: bool = True, parity: Literal["paper"] | None = None
) -> Float[Tensor, "atom embed"]:
    """The dictionary that is searched: atoms minus their mean, each of unit norm.

    centre=False leaves the mean in. parity="paper" is the released code of papers A and B instead: 100 × unit texts,
    centred, then each *embedding dimension* (not each atom) scaled to norm 100 over the pool.
    """
    if parity == "paper":
        scaled = 100 * F.normalize(atoms, dim=1)
        scaled = scaled - scaled.mean(dim=0)
        return 100 * scaled / scaled.norm(dim=0).clamp(min=torch.finfo(scaled.dtype).tiny)
    if centre:
        atoms = atoms - atoms.mean(dim=0)
    return F.normalize(atoms, dim=1)


@torch.no_grad()
def sparse_code(
    targets: Float[Tensor, "target embed"],
    atoms: Float[Tensor, "atom embed"],
    size: int,
    *,
    nonnegative: bool = False,
    centre: bool = True,
    parity: Literal["paper"] | None = None,
    progress: bool = False,
) -> SparseCode:
    r"""Repeat `size` times: pick argmax_j |⟨r, a_j⟩|, then r = target − its projection on the span of the picks.

    targets: directions to describe, [target, embed]. atoms: text embeddings, [atom, embed]; `prepare_atoms` says what
    is done to them first. nonnegative: only atoms with a positive correlation are picked and no coefficient is
    negative. Each residual is kept orthogonal to an orthonormal basis of its picks, so no Gram matrix of the atoms is
    ever built; correlations are computed in blocks of targets of bounded memory. Ties go to the first atom.

    Raises `SummandError` for shapes that do not fit, a size that is not between 1 and the number of atoms, atoms that
    are all the same, and non-finite numbers.
    Source: paper A (Gandelsman et al., ICLR 2025), section 4; paper B.
    """
    _check(targets, atoms, size, parity)
    dictionary = prepare_atoms(atoms.to(targets), centre, parity)
    longest = dictionary.norm(dim=1).max()
    if not longest > 0:
        raise SummandError("the atoms are all the same: nothing is left of them once their mean is taken away")
    block = max(1, _BLOCK_BYTES // (dictionary.element_size() * (2 * len(dictionary) + 3 * size * dictionary.shape[1])))
    bar = tqdm(total=len(targets), desc="sparse codes", unit="dir", file=sys.stderr, disable=not progress, leave=False)
    indices, coefficients = [], []
    for some in targets.split(block):
        chosen, weights = (_pursue_nonnegative if nonnegative else _pursue)(some, dictionary, size)
        indices.append(chosen)
        coefficients.append(weights)
        bar.update(len(some))
    bar.close()
    chosen, weights = torch.cat(indices), torch.cat(coefficients)
    picked = torch.where(chosen >= 0, chosen, 0)
    rows = [(w[:, None] * dictionary[i]).sum(dim=0) for i, w in zip(picked, weights, strict=True)]
    reconstruction = torch.stack(rows) if rows else targets.clone()
    return SparseCode(chosen, weights, reconstruction, F.cosine_similarity(targets, reconstruction, dim=1))


def _check(targets: Tensor, atoms: Tensor, size: int, parity: str | None) -> None:
    if targets.ndim != 2 or atoms.ndim != 2 or targets.shape[1] != atoms.shape[1]:
        raise SummandError(
            f"targets [target, embed] and atoms [atom, embed] must share embed; "
            f"got {list(targets.shape)} and {list(atoms.shape)}"
        )
    if not 1 <= size <= len(atoms):
        raise SummandError(f"size must lie between 1 and the number of atoms ({len(atoms)}), got {size}")
    if parity not in (None, "paper"):
        raise SummandError(f"parity must be None or 'paper', got {parity!r}")
    if not (torch.isfinite(targets).all() and torch.isfinite(atoms).all()):
        raise SummandError("targets or atoms hold NaN or infinite numbers")


def _pursue(targets: Tensor, dictionary: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Signed pursuit of a block: indices and coefficients [target, size]."""
    count, embed = targets.shape
    residual = targets.clone()
    basis = targets.new_zeros(count, size, embed)
    mixing = torch.eye(size, dtype=targets.dtype, device=targets.device).repeat(count, 1, 1)  # picks = mixingᵀ basis
    along = targets.new_zeros(count, size)
    chosen = torch.full((count, size), -1, dtype=torch.long, device=targets.device)
    floor = 1e-6 if targets.dtype == torch.float32 else 1e-11
    least = floor * targets.norm(dim=1)
    going = residual.norm(dim=1) > least
    for step in range(min(size, embed)):
        correlation = (residual @ dictionary.T).abs_()
        if step:
            correlation.scatter_(1, chosen[:, :step].clamp(min=0), -1.0)
        best = correlation.argmax(dim=1)
        atom = dictionary[best]
        done = basis[:, :step]
        new, shares = atom, 0
        for _ in range(2):  # twice is enough: the second pass removes what rounding left of the first
            share = torch.einsum("bke,be->bk", done, new)
            new = new - torch.einsum("bk,bke->be", share, done)
            shares = shares + share
        length = new.norm(dim=1)
        going = going & (length > floor * atom.norm(dim=1)) & (residual.norm(dim=1) > least)
        if not going.any():
            break
        new = torch.where(going[:, None], new / length.clamp(min=floor)[:, None], 0)
        basis[:, step] = new
        mixing[:, :step, step] = torch.where(going[:, None], shares, 0)
        mixing[:, step, step] = torch.where(going, length, 1)
        amount = (residual * new).sum(dim=1)
        along[:, step] = amount
        residual = residual - amount[:, None] * new
        chosen[:, step] = torch.where(going, best, -1)
    weights = torch.linalg.solve_triangular(mixing, along[..., None], upper=True)[..., 0]
    return chosen, torch.where(chosen >= 0, weights, 0)


def _pursue_nonnegative(targets: Tensor, dictionary: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pursuit with coefficients ≥ 0: after every pick all of them are fitted anew, by coordinate descent."""
    count = len(targets)
    chosen = torch.full((count, size), -1, dtype=torch.long, device=targets.device)
    weights = targets.new_zeros(count, size)
    residual = targets
    going = torch.ones(count, dtype=torch.bool, device=targets.device)
    for step in range(size):
        correlation = residual @ dictionary.T
        if step:
            correlation.scatter_(1, chosen[:, :step].clamp(min=0), -torch.inf)
        strength, best = correlation.max(dim=1)
        going = going & (strength > 1e-6 * targets.norm(dim=1))
        if not going.any():
            break
        chosen[:, step] = torch.where(going, best, -1)
        used = chosen[:, : step + 1]
        picks = dictionary[used.clamp(min=0)] * (used >= 0)[..., None]
        gram = picks @ picks.transpose(1, 2)
        wanted = torch.einsum("bke,be->bk", picks, targets)
        weights[:, : step + 1] = _fit_nonnegative(gram, wanted, weights[:, : step + 1])
        residual = targets - torch.einsum("bk,bke->be", weights[:, : step + 1], picks)
    return chosen, weights


def _fit_nonnegative(gram: Tensor, wanted: Tensor, start: Tensor) -> Tensor:
    """argmin_{w ≥ 0} wᵀGw/2 − bᵀw for a batch, by cyclic coordinate descent from `start`."""
    weights = start.clone()
    diagonal = gram.diagonal(dim1=1, dim2=2)
    for _ in range(_SWEEPS):
        before = weights.clone()
        for k in range(weights.shape[1]):
            slope = wanted[:, k] - torch.einsum("bk,bk->b", gram[:, k], weights)
            step = slope / diagonal[:, k].clamp(min=1e-12)
            weights[:, k] = torch.where(diagonal[:, k] > 0, (weights[:, k] + step).clamp(min=0), 0)
        if (weights - before).abs().max() <= 1e-7 * weights.abs().max().clamp(min=1e-12):
            break
    return weights
