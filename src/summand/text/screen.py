"""Bounds on ⟨r, a_j⟩ from products of 8-bit integers: a quarter of the time of fp32 where the processor has them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Int8, Int32
from torch import Tensor

CHUNK = 32  # atoms of which only the largest estimate is looked at first
_BLOCK = 64 * CHUNK  # atoms multiplied at a time: with 256 residuals, what is still in the cache when it is looked at
_LEVELS = 127
_RANGE = 2**31 - 1
_multiply: Any = getattr(torch, "_int_mm", None)  # int8 × int8 summed in int32; not a public function


@dataclass(frozen=True)
class Estimates:
    """Integers of which each, times `unit`, is within `slack` of the correlation; where signed, of its absolute value.

    of_atoms: [chunk, CHUNK, target]; atoms past the last are 0. largest: of each chunk.
    unit, slack: of each target.
    """

    of_atoms: Int32[Tensor, "chunk member target"]
    largest: Int32[Tensor, "chunk target"]
    unit: Float[Tensor, " target"]
    slack: Float[Tensor, " target"]

    def top(self) -> Int[Tensor, " target"]:
        """The atom with the largest integer."""
        chunk = self.largest.argmax(dim=0)
        return chunk * CHUNK + self.of_atoms[chunk, :, torch.arange(len(chunk))].argmax(dim=1)

    def least(self, known: Float[Tensor, " target"]) -> Int32[Tensor, " target"]:
        """The integer that every atom reaches whose correlation is `known` or more; none does for a target of zeros."""
        least = ((known - self.slack).double() / self.unit).floor().clamp(-_RANGE, _RANGE)
        return torch.where(self.unit > 0, least, _RANGE).int()


class Screen:
    r"""|⟨r, a⟩ − s_r s_a ⟨r₈, a₈⟩| ≤ ‖r − s_r r₈‖ ‖a‖ + ‖s_r r₈‖ ‖a − s_a a₈‖ for r₈, a₈ of integers −127 … 127.

    s_a is one scale for all atoms, so that their integers compare as they are; s_r is each residual's own. Both vectors
    are turned by one random rotation first, ⟨Qr, Qa⟩ = ⟨r, a⟩: an outlying dimension, as CLIP's vectors have them,
    would leave few levels to the others. Norms are those of the vectors themselves; of the atoms, the largest.
    """

    def __init__(self, dictionary: Float[Tensor, "atom embed"]) -> None:
        count, embed = dictionary.shape
        generator = torch.Generator().manual_seed(0)
        random = torch.randn(embed, embed, generator=generator, dtype=torch.float64)
        self.rotation = torch.linalg.qr(random)[0].to(dictionary)
        parts = dictionary.split(_BLOCK)
        self.unit = max((part @ self.rotation).abs().max().item() for part in parts) / _LEVELS
        self.codes = torch.zeros(count + -count % CHUNK, embed, dtype=torch.int8)
        self.error = 0.0
        for part, codes in zip(parts, self.codes.split(_BLOCK), strict=True):
            turned = part @ self.rotation
            codes[: len(part)] = (turned / self.unit).round().clamp(-_LEVELS, _LEVELS)
            self.error = max(self.error, (turned - self.unit * codes[: len(part)]).norm(dim=1).max().item())
        self.longest = dictionary.norm(dim=1).max().item()
        self._space = torch.empty(0, dtype=torch.int32)

    def estimates(self, residual: Float[Tensor, "target embed"], signed: bool) -> Estimates:
        """Of every atom. The next call overwrites them. Residuals must be far from the limits of fp32."""
        turned = residual @ self.rotation
        unit = turned.abs().amax(dim=1) / _LEVELS
        rounded = (turned / torch.where(unit > 0, unit, 1)[:, None]).round().clamp(-_LEVELS, _LEVELS)
        error, length = (turned - unit[:, None] * rounded).norm(dim=1), unit * rounded.norm(dim=1)
        # What fp32 adds: the rotation's rounding, and that of the correlations that these are compared with.
        rounding = 4 * residual.shape[1] * torch.finfo(torch.float32).eps * residual.norm(dim=1)
        slack = (error + rounding) * self.longest + length * self.error
        of_atoms, largest = self._products(rounded.to(torch.int8), signed)
        return Estimates(of_atoms, largest, unit * self.unit, slack)

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
