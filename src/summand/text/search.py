"""The inner search of matching pursuit: argmax_j ⟨r, a_j⟩ of many residuals at once, by one product of matrices."""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

_CHUNK = 128  # atoms of which only the largest correlation is looked at first
_FEW_TARGETS, _FEW_ATOMS = 32, 4096  # below either, a product in full is quick
_MOST = 64  # candidate chunks of a residual above which the product in full is cheaper
_PAIRS = 1024  # pairs of residual and atom multiplied at a time
_OUTPUT = 2.0**-8  # relative rounding of a bf16 number
_MARGIN = 1.05  # for terms of second order


class Search:
    r"""argmax_j ⟨r, a_j⟩ or argmax_j |⟨r, a_j⟩|; ties go to the first atom.

    Where the processor multiplies bf16 several times faster than fp32, the product is made in bf16 and only the atoms
    that may be the largest are multiplied in full: |⟨r, a⟩ − ⟨r₁₆, a₁₆⟩| ≤ ‖r − r₁₆‖ ‖a‖ + ‖r₁₆‖ ‖a − a₁₆‖, a few
    thousandths of ‖r‖ ‖a‖. Either way the answer is that of the product in full, to the rounding of its last bits.

    dictionary: [atom, embed]. first: for every atom the first one equal to it, which is answered in its place.
    targets: how many residuals there will be in all. halved: whether to begin in bf16; by default where that is faster.
    """

    def __init__(
        self,
        dictionary: Float[Tensor, "atom embed"],
        first: Int[Tensor, " atom"],
        targets: int,
        halved: bool | None = None,
    ) -> None:
        self._dictionary, self._first = dictionary, first
        self._padded = F.pad(dictionary, (0, 0, 0, -len(dictionary) % _CHUNK)).T
        self._spaces: dict[torch.dtype, Tensor] = {}
        if halved is None:
            large = targets >= _FEW_TARGETS and len(dictionary) >= _FEW_ATOMS
            halved = large and dictionary.dtype == torch.float32 and dictionary.device.type == "cpu" and fast_halves()
        self._half = self._padded.bfloat16() if halved else None
        self.in_full = 0  # residuals that were multiplied with every atom in full
        if self._half is not None:
            self._longest = float(dictionary.norm(dim=1).max())
            self._error = float((self._padded - self._half.float()).norm(dim=0).max())

    def strongest(
        self, residual: Float[Tensor, "target embed"], taken: Int[Tensor, "target step"], signed: bool
    ) -> tuple[Int[Tensor, " target"], Float[Tensor, " target"]]:
        """The atom of each residual, and its correlation (absolute where signed); atoms taken before do not count.

        A residual of zeros gets correlation 0 and any atom. −1 among the taken is of a target that stopped: what it is
        answered does not matter.
        """
        if self._half is None:
            return self._in_full(residual, taken, signed)
        row, atom, many = self._candidates(self._half, residual, taken, signed)
        parts = [
            self._dictionary.index_select(0, atoms).mul_(residual.index_select(0, rows)).sum(dim=1)
            for rows, atoms in zip(row.split(_PAIRS), atom.split(_PAIRS), strict=True)
        ]
        score = torch.cat(parts)
        score = score.abs_() if signed else score
        strength = score.new_full((len(residual),), -torch.inf).scatter_reduce(0, row, score, "amax")
        ties = score == strength[row]
        best = row.new_full((len(residual),), len(self._first) - 1)
        best = best.scatter_reduce(0, row[ties], self._first[atom[ties]], "amin")
        strength = torch.where(residual.any(dim=1), strength, 0)
        if len(many):
            best[many], strength[many] = self._in_full(residual[many], taken[many], signed)
        return best, strength

    def _candidates(self, half: Tensor, residual: Tensor, taken: Tensor, signed: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs (row, atom) among which is the answer of every row, but for the rows, third, that have too many."""
        rounded = residual.bfloat16()
        estimate = _without(self._product(rounded, half), taken, signed).unflatten(1, (-1, _CHUNK))
        if signed:  # without signs bf16 numbers are in the order of their bits, and integers compare much faster
            largest = estimate.view(torch.int16).amax(dim=2).view(torch.bfloat16).float()
        else:
            largest = estimate.amax(dim=2).float()
        top = largest.amax(dim=1)
        # What fp32 adds: the rounding of the sums, and that of the correlations in full.
        sums = 4 * (residual.shape[1] + 4) * torch.finfo(torch.float32).eps * residual.norm(dim=1)
        error, length = (residual - rounded.float()).norm(dim=1), rounded.float().norm(dim=1)
        slack = (error + sums) * self._longest + length * self._error + _OUTPUT * top.abs()
        least = torch.where(residual.any(dim=1), top - 2 * _MARGIN * slack, torch.inf)
        reach = largest >= least[:, None]
        many = (reach.sum(dim=1) > _MOST) | ~torch.isfinite(top)
        row, chunk = (reach & ~many[:, None]).nonzero(as_tuple=True)
        pair, within = (estimate[row, chunk].float() >= least[row, None]).nonzero(as_tuple=True)
        row, atom = row[pair], chunk[pair] * _CHUNK + within
        counts = atom < len(self._first)
        return row[counts], atom[counts], many.nonzero()[:, 0]

    def _in_full(self, residual: Tensor, taken: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
        """A matrix product, the largest of each chunk, the largest in that one."""
        self.in_full += len(residual)
        chunks = _without(self._product(residual, self._padded), taken, signed).unflatten(1, (-1, _CHUNK))
        chunk = chunks.amax(dim=2).argmax(dim=1)
        strength, within = chunks[torch.arange(len(residual), device=residual.device), chunk].max(dim=1)
        return self._first[(chunk * _CHUNK + within).clamp(max=len(self._first) - 1)], strength

    def _product(self, residual: Tensor, atoms: Tensor) -> Tensor:
        """Where the last one was."""
        space = self._spaces.get(atoms.dtype)
        if space is None or len(space) < len(residual):
            space = self._spaces[atoms.dtype] = atoms.new_empty(len(residual), atoms.shape[1])
        return torch.mm(residual, atoms, out=space[: len(residual)])


def _without(correlation: Tensor, taken: Tensor, signed: bool) -> Tensor:
    """Correlations (absolute where signed), in place, those of atoms taken before below all others."""
    if signed:
        correlation.abs_()
    rows = torch.arange(len(taken), device=taken.device)[:, None]
    return correlation.index_put_((rows, taken.clamp(min=0)), correlation.new_tensor(-torch.inf))


@functools.cache
def fast_halves() -> bool:
    """Whether this processor has instructions for products of bf16 numbers; without them they cost more than fp32."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16")) and torch.backends.mkldnn.is_available()
