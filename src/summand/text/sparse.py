"""Sparse codes: a direction as a short weighted list of texts, by batched orthogonal matching pursuit (papers A, B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..progress import Progress
from ..towers.finite import check_finite, power_of_two
from ..towers.precision import as_written
from .pursuit import pursue, pursue_nonnegative
from .search import Search

_BLOCK_BYTES = 96 * 2**20


@dataclass(frozen=True)
class SparseCode:
    """Each target as Σ_j γ_j atom_j, the atoms in the order in which they were picked.

    indices: into the atoms, [target, size]; −1 (with coefficient 0) where a target needed fewer. coefficients γ:
    [target, size]. reconstruction r̂: [target, embed], not re-normalised. cosine: of the target with r̂, [target]; 0 for
    a target of zeros.
    """

    indices: Int[Tensor, "target size"]
    coefficients: Float[Tensor, "target size"]
    reconstruction: Float[Tensor, "target embed"]
    cosine: Float[Tensor, " target"]


def prepare_atoms(
    atoms: Float[Tensor, "atom embed"], centre: bool = True, parity: Literal["paper"] | None = None
) -> Float[Tensor, "atom embed"]:
    """The dictionary that is searched: atoms minus their mean, each of unit norm.

    An atom of which nothing but rounding is left once the mean is gone stays zero, and is never picked. centre=False
    leaves the mean in. parity="paper" is the released code of papers A and B instead: 100 × unit texts, centred, then
    each *embedding dimension* (not each atom) scaled to norm 100 over the pool.
    """
    rounding = 8 * torch.finfo(atoms.dtype).eps
    atoms = atoms / power_of_two(atoms)
    if parity == "paper":
        scaled = 100 * F.normalize(atoms, dim=1)
        scaled = scaled - scaled.mean(dim=0)
        spread = scaled.norm(dim=0)
        return torch.where(spread > rounding * 100 * len(atoms) ** 0.5, 100 * scaled / spread, 0)
    centred = atoms - atoms.mean(dim=0) if centre else atoms
    kept = centred.norm(dim=1, keepdim=True) > rounding * atoms.norm(dim=1).max()
    return F.normalize(torch.where(kept, centred, 0), dim=1)


@names_wrong_arguments
@torch.no_grad()
@as_written
def sparse_code(
    targets: Float[Tensor, "target embed"],
    atoms: Float[Tensor, "atom embed"],
    size: int,
    *,
    nonnegative: bool = False,
    centre: bool = True,
    parity: Literal["paper"] | None = None,
    progress: bool | None = False,
) -> SparseCode:
    r"""Repeat `size` times: pick argmax_j |⟨r, a_j⟩|, then r = target − its projection on the span of the picks.

    targets: directions to describe, [target, embed]. atoms: text embeddings, [atom, embed]; `prepare_atoms` says what
    is done to them first. nonnegative: only atoms with a positive correlation are picked and no coefficient is
    negative. progress: a bar on the terminal. A target that fewer atoms make up, or whose picks span the whole space
    (size > embed), stops there. Ties go to the first atom.

    No Gram matrix of the atoms is ever built: correlations are products of residuals and atoms, in blocks of targets of
    bounded memory. Half precision is worked out in fp32.

    Raises `SummandError` for shapes that do not fit, a size that is not between 1 and the number of atoms, atoms that
    are all the same, and non-finite numbers.
    Source: paper A (Gandelsman et al., ICLR 2025), section 4; paper B.
    """
    _check(targets, atoms, size, centre, parity)
    targets = targets.to(torch.promote_types(targets.dtype, torch.float32))
    dictionary = prepare_atoms(atoms.to(targets), centre, parity)
    if not dictionary.any():
        raise SummandError("the atoms are all the same: nothing is left of them once their mean is taken away")
    scale = power_of_two(targets, dim=1)
    targets = targets / scale
    search = Search(dictionary, _first_of_equal(dictionary), len(targets))
    block = max(1, _BLOCK_BYTES // (dictionary.element_size() * (len(dictionary) + 2 * size * dictionary.shape[1])))
    block -= block % 64 if block > 64 else 0  # a width that products of matrices like: 256 cost less than 263
    parts = []
    with Progress("sparse codes", len(targets), "directions", progress) as bar:
        for some in targets.split(block):
            parts.append((pursue_nonnegative if nonnegative else pursue)(some, dictionary, search, size))
            bar.update(len(some))
    indices, weights = (torch.cat(part) for part in zip(*parts, strict=True))
    reconstruction = F.embedding_bag(indices.clamp(min=0), dictionary, mode="sum", per_sample_weights=weights)
    cosine = F.cosine_similarity(targets, reconstruction, dim=1)
    return SparseCode(indices, weights * scale, reconstruction * scale, cosine)


def _check(targets: Tensor, atoms: Tensor, size: int, centre: bool, parity: str | None) -> None:
    if targets.ndim != 2 or atoms.ndim != 2 or targets.shape[1] != atoms.shape[1]:
        raise SummandError(
            f"targets [target, embed] and atoms [atom, embed] must share embed; "
            f"got {list(targets.shape)} and {list(atoms.shape)}"
        )
    if len(atoms) < 2 and (centre or parity == "paper" or len(atoms) == 0):
        raise SummandError(
            f"sparse codes need at least 2 atoms to take the mean away from, got {len(atoms)}; "
            f"give more texts, or centre=False"
        )
    if not 1 <= size <= len(atoms):
        raise SummandError(f"size must lie between 1 and the number of atoms ({len(atoms)}), got {size}")
    if parity not in (None, "paper"):
        raise SummandError(f"parity must be None or 'paper', got {parity!r}")
    check_finite(targets, "target", "leave these units out, or make their directions again from a sound model")
    check_finite(atoms, "atom", "encode the texts again, or leave these out")


def _first_of_equal(dictionary: Tensor) -> Tensor:
    """For every atom the first one equal to it bit by bit: matrix products may round equal rows differently."""
    bits = dictionary.contiguous().view(torch.int32 if dictionary.element_size() == 4 else torch.int64)
    generator = torch.Generator().manual_seed(0)
    multipliers = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=generator).to(bits.device)
    hashes = torch.cat([(rows.long() * multipliers).sum(dim=1) for rows in bits.split(4096)])  # wraps, exactly
    _, group = hashes.unique(return_inverse=True)
    positions = torch.arange(len(group), device=group.device)
    first = torch.full_like(group, len(group)).scatter_reduce(0, group, positions, "amin")
    return first[group]
