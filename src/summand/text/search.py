"""The inner search of matching pursuit, argmax_j ⟨r, a_j⟩ of many residuals: by one product, or screened in 8 bits."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from .screen import CHUNK, Screen, fast_integers

_FEW_TARGETS, _FEW_ATOMS = 32, 4096  # below either, preparing the screen costs more than it saves
_MOST = 128  # candidate chunks of a residual above which the plain product is cheaper
_PAIRS = 1024  # pairs of residual and atom multiplied at a time


class Search:
    """argmax_j ⟨r, a_j⟩ or argmax_j |⟨r, a_j⟩|; ties go to the first atom.

    dictionary: [atom, embed]. first: for every atom the first one equal to it, which is answered in its place.
    targets: how many residuals there will be in all. screened: whether to multiply in 8 bits first and in full only
    where the answer may lie (`Screen`); by default where the processor is fast at it and the search large enough.
    Either way the answer is that of the full product, to the rounding of its last bits.
    """

    def __init__(
        self,
        dictionary: Float[Tensor, "atom embed"],
        first: Int[Tensor, " atom"],
        targets: int,
        screened: bool | None = None,
    ) -> None:
        self._dictionary, self._first = dictionary, first
        if screened is None:
            large = targets >= _FEW_TARGETS and len(dictionary) >= _FEW_ATOMS
            screened = (
                large and dictionary.dtype == torch.float32 and dictionary.device.type == "cpu" and fast_integers()
            )
        self._screen = Screen(dictionary) if screened else None
        self.in_full = 0  # residuals that were multiplied with every atom in full
        self._padded: Tensor | None = None
        self._space = dictionary.new_empty(0)

    def strongest(
        self, residual: Float[Tensor, "target embed"], taken: Int[Tensor, "target step"], signed: bool
    ) -> tuple[Int[Tensor, " target"], Float[Tensor, " target"]]:
        """The atom of each residual, and its correlation (absolute where signed); atoms taken before do not count.

        A residual of zeros gets correlation 0 and any atom. −1 among the taken is no atom.
        """
        if self._screen is None:
            return self._by_product(residual, taken, signed)
        size = residual.abs().amax(dim=1)
        scaled = residual / torch.where(size > 0, size, 1)[:, None]  # squares of its entries stay within fp32
        row, atom, many = self._candidates(self._screen, scaled, taken, signed)
        score = self._correlations(scaled, row, atom, signed)
        strength = score.new_full((len(scaled),), -torch.inf).scatter_reduce(0, row, score, "amax")
        ties = score == strength[row]
        last = len(self._first) - 1
        best = row.new_full((len(scaled),), last).scatter_reduce(0, row[ties], self._first[atom[ties]], "amin")
        strength = torch.where(size > 0, strength * size, 0)
        if len(many):
            best[many], strength[many] = self._by_product(residual[many], taken[many], signed)
        return best, strength

    def _candidates(self, screen: Screen, scaled: Tensor, taken: Tensor, signed: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs (row, atom) among which is the answer of every row, but for the rows, third, that have too many."""
        estimates = screen.estimates(scaled, signed)
        top = screen.order[estimates.top()].clamp(max=len(self._first) - 1)
        known = self._correlations(scaled, torch.arange(len(scaled)), top, signed)
        least = estimates.least(known.masked_fill((taken == top[:, None]).any(dim=1), -torch.inf))
        reach = estimates.largest >= least
        many = reach.sum(dim=0) > _MOST
        chunk, row = (reach & ~many).nonzero(as_tuple=True)
        pair, within = (estimates.of_atoms[chunk, :, row] >= least[chunk, row, None]).nonzero(as_tuple=True)
        atom, row = screen.order[chunk[pair] * CHUNK + within], row[pair]
        counts = (atom < len(self._first)) & ~(taken[row] == atom[:, None]).any(dim=1)
        return row[counts], atom[counts], many.nonzero()[:, 0]

    def _correlations(self, scaled: Tensor, row: Tensor, atom: Tensor, signed: bool) -> Tensor:
        parts = [
            self._dictionary.index_select(0, atoms).mul_(scaled.index_select(0, rows)).sum(dim=1)
            for rows, atoms in zip(row.split(_PAIRS), atom.split(_PAIRS), strict=True)
        ]
        score = torch.cat(parts)
        return score.abs_() if signed else score

    def _by_product(self, residual: Tensor, taken: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
        """A matrix product, the largest of each chunk, the largest in that one."""
        self.in_full += len(residual)
        if self._padded is None:
            self._padded = F.pad(self._dictionary, (0, 0, 0, -len(self._dictionary) % 128)).T
        if len(self._space) < len(residual):
            self._space = residual.new_empty(len(residual), self._padded.shape[1])
        correlation = torch.mm(residual, self._padded, out=self._space[: len(residual)])
        if signed:
            correlation.abs_()
        if taken.shape[1]:
            correlation.scatter_(1, taken.clamp(min=0), -1.0)  # −1 is of a target that stopped: nothing depends on it
        chunks = correlation.unflatten(1, (-1, 128))
        chunk = chunks.amax(dim=2).argmax(dim=1)
        strength, within = chunks[torch.arange(len(residual), device=residual.device), chunk].max(dim=1)
        return self._first[(chunk * 128 + within).clamp(max=len(self._first) - 1)], strength
