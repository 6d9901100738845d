"""Bounds on ⟨r, a_j⟩ from products of 8-bit integers: a quarter of the time of fp32 where the processor has them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Int8, Int32
from torch import Tensor
from torch.nn import functional as F

CHUNK = 32  # atoms of which only the largest estimate is looked at first
_BLOCK = 64 * CHUNK  # atoms multiplied at a time: with 256 residuals, what is still in the cache when it is looked at
_LEVELS = 127
_NEVER = 2**30  # more than any sum of products of codes
_multiply: Any = getattr(torch, "_int_mm", None)  # int8 × int8 summed in int32; not a public function


@dataclass(frozen=True)
class Estimates:
    """Integers that bound correlations: |correlation − integer × unit of its chunk × unit of its target| ≤ `slack`.

    of_atoms: [chunk, CHUNK, target], of absolute values where signed; an atom's place is in `Screen.order`.
    largest: of each chunk. units: of chunks, of targets (0: a target of zeros). errors: the rows of [2, chunk] and of
    [2, target] whose products, summed, are the slack.
    """

    of_atoms: Int32[Tensor, "chunk member target"]
    largest: Int32[Tensor, "chunk target"]
    units: tuple[Float[Tensor, " chunk"], Float[Tensor, " target"]]
    errors: tuple[Float[Tensor, "2 chunk"], Float[Tensor, "2 target"]]

    def slack(self) -> Float[Tensor, "chunk target"]:
        return self.errors[0].T @ self.errors[1]

    def top(self) -> Int[Tensor, " target"]:
        """The place with the largest estimate."""
        chunk = (self.largest * self.units[0][:, None]).argmax(dim=0)
        return chunk * CHUNK + self.of_atoms[chunk, :, torch.arange(len(chunk))].argmax(dim=1)

    def least(self, known: Float[Tensor, " target"]) -> Int32[Tensor, "chunk target"]:
        """The integer that every atom reaches whose correlation is `known` or more; none does for a target of zeros."""
        of_chunks, of_targets = self.units
        some = of_targets > 0
        per_target = torch.cat([known[None], -self.errors[1]]) / torch.where(some, of_targets, 1)
        per_target[0] = torch.where(some, per_target[0], torch.inf)
        per_chunk = torch.cat([torch.ones_like(of_chunks)[None], self.errors[0]]) / of_chunks
        return (per_chunk.T @ per_target).floor_().clamp_(-_NEVER, _NEVER).int()


class Screen:
    r"""|⟨r, a⟩ − s_r s_a ⟨r₈, a₈⟩| ≤ ‖r − s_r r₈‖ ‖a‖ + ‖s_r r₈‖ ‖a − s_a a₈‖ for r₈, a₈ of integers −127 … 127.

    Atoms are sorted by their largest entry, and those of a chunk share the scale s_a, so that their integers compare as
    they are; s_r is each residual's own. Both vectors are turned by one random rotation first, ⟨Qr, Qa⟩ = ⟨r, a⟩: an
    outlying dimension, as CLIP's vectors have them, would leave few levels to the others. Norms are those of the
    vectors themselves; of the atoms, the largest of the chunk.

    order: the atom in each place; past the last atom, the number of atoms.
    """

    def __init__(self, dictionary: Float[Tensor, "atom embed"]) -> None:
        count, embed = dictionary.shape
        generator = torch.Generator().manual_seed(0)
        random = torch.randn(embed, embed, generator=generator, dtype=torch.float64)
        self.rotation = torch.linalg.qr(random)[0].to(dictionary)
        peaks = torch.cat([(part @ self.rotation).abs().amax(dim=1) for part in dictionary.split(_BLOCK)])
        peaks, order = peaks.sort()
        self.order = torch.cat([order, order.new_full((-count % CHUNK,), count)])
        peaks = torch.cat([part[-1:] for part in peaks.split(CHUNK)])
        self.units = torch.where(peaks > 0, peaks, 1) / _LEVELS
        self.codes = torch.zeros(len(self.order), embed, dtype=torch.int8)
        self.longest, self.error = torch.zeros_like(self.units), torch.zeros_like(self.units)
        padded = F.pad(dictionary, (0, 0, 0, 1))
        for start in range(0, count, _BLOCK):
            some = slice(start, start + _BLOCK)
            chunks = slice(start // CHUNK, (start + _BLOCK) // CHUNK)
            atoms = padded[self.order[some]]
            turned = (atoms @ self.rotation).unflatten(0, (-1, CHUNK))
            rounded = (turned / self.units[chunks, None, None]).round().clamp(-_LEVELS, _LEVELS)
            self.codes[some] = rounded.flatten(0, 1)
            self.error[chunks] = (turned - self.units[chunks, None, None] * rounded).norm(dim=2).amax(dim=1)
            self.longest[chunks] = atoms.unflatten(0, (-1, CHUNK)).norm(dim=2).amax(dim=1)
        self._space = torch.empty(0, dtype=torch.int32)

    def estimates(self, residual: Float[Tensor, "target embed"], signed: bool) -> Estimates:
        """Of every atom. The next call overwrites them. Residuals must be far from the limits of fp32."""
        turned = residual @ self.rotation
        units = turned.abs().amax(dim=1) / _LEVELS
        rounded = (turned / torch.where(units > 0, units, 1)[:, None]).round().clamp(-_LEVELS, _LEVELS)
        error, length = (turned - units[:, None] * rounded).norm(dim=1), units * rounded.norm(dim=1)
        # What fp32 adds: the rotation's rounding, and that of the correlations that these are compared with.
        rounding = 4 * (residual.shape[1] + 4) * torch.finfo(torch.float32).eps * residual.norm(dim=1)
        errors = torch.stack([self.longest, self.error]), torch.stack([error + rounding, length])
        of_atoms, largest = self._products(rounded.to(torch.int8), signed)
        return Estimates(of_atoms, largest, (self.units, units), errors)

    def _products(self, rounded: Int8[Tensor, "target embed"], signed: bool) -> tuple[Tensor, Tensor]:
        atoms, targets = len(self.codes), len(rounded)
        if len(self._space) < atoms * targets:
            self._space = torch.empty(atoms * targets, dtype=torch.int32)
        products = self._space[: atoms * targets].view(atoms, targets)
        largest = torch.empty(atoms // CHUNK, targets, dtype=torch.int32)
        for start in range(0, atoms, _BLOCK):
            some = slice(start, start + _BLOCK)
            part = products[some]
            _multiply(self.codes[some], rounded.T, out=part)
            if signed:
                part.abs_()
            within = slice(start // CHUNK, (start + _BLOCK) // CHUNK)
            torch.amax(part.unflatten(0, (-1, CHUNK)), dim=1, out=largest[within])
        return products.unflatten(0, (-1, CHUNK)), largest


@functools.cache
def fast_integers() -> bool:
    """Whether this processor multiplies 8-bit integers faster than fp32, and torch gives their exact products."""
    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    fast = has.get("avx512_vnni") or has.get("avx_vnni")
    if _multiply is None or not fast or not torch.backends.mkldnn.is_available():
        return False
    # Older instructions saturate sums of two products at 16 bits: the extremes would show it.
    codes = torch.full((64, 512), _LEVELS, dtype=torch.int8)
    codes[::2] *= -1
    return torch.equal(_multiply(codes, codes.T).long(), codes.long() @ codes.long().T)
