"""Products of half-precision matrices that keep the digits of an fp32 sum.

Factors in bf16 or fp16 multiply exactly in fp32, so that nothing is lost where a product is summed and written in fp32:
tensor cores do this on a GPU. On other devices a half-precision product is rounded when it is written; there a second
product, from which the first is subtracted before it is rounded, is what the rounding took away.
"""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)


def exact_product(
    left: Float[Tensor, "batch row inner"], right: Float[Tensor, "batch inner column"]
) -> Float[Tensor, "batch row column"]:
    """left @ right of two factors in the same precision, in fp32 or better."""
    if left.dtype not in HALVES:
        return torch.bmm(left, right)
    if left.is_cuda and _writes_fp32():
        return torch.bmm(left, right, out_dtype=torch.float32)
    return _both_parts(left, right).sum(dim=0, dtype=torch.float32)


def mixed_product(
    left: Float[Tensor, "batch row inner"], right: Float[Tensor, "batch inner column"]
) -> Float[Tensor, "batch row column"]:
    """left @ right with a left factor in fp32 or better, as the sum of two numbers in the precision of the right one:
    16 bits of bf16, 22 of fp16."""
    if right.dtype not in HALVES:
        return torch.bmm(left, right)
    batch, rows, _ = left.shape
    parts = right.new_empty(batch, 2, *left.shape[1:])
    parts[:, 0].copy_(left)
    torch.sub(left, parts[:, 0], out=parts[:, 1])
    parts = parts.flatten(1, 2)
    if left.is_cuda and _writes_fp32():
        return torch.bmm(parts, right, out_dtype=torch.float32).unflatten(1, (2, rows)).sum(dim=1)
    return _both_parts(parts, right).unflatten(2, (2, rows)).sum(dim=(0, 2), dtype=torch.float32)


def rounded_product(
    left: Float[Tensor, "batch row inner"], right: Float[Tensor, "batch inner column"]
) -> Float[Tensor, "batch row column"]:
    """left @ right of two factors in half precision; in fp32 where that costs nothing."""
    if left.is_cuda and _writes_fp32():
        return torch.bmm(left, right, out_dtype=torch.float32)
    return torch.bmm(left, right)


def _both_parts(left: Tensor, right: Tensor) -> Float[Tensor, "2 batch row column"]:
    """The rounded product, and what its rounding took away."""
    both = left.new_empty(2, *left.shape[:2], right.shape[2])
    torch.bmm(left, right, out=both[0])
    torch.baddbmm(both[0], left, right, beta=-1, out=both[1])
    return both


@cache
def _writes_fp32() -> bool:
    """Whether this torch writes a product of halves in fp32 (2.8 and later)."""
    try:
        half = torch.ones(1, 1, 1, dtype=torch.float16, device="cuda")
        return torch.bmm(half, half, out_dtype=torch.float32).dtype == torch.float32
    except (TypeError, RuntimeError):
        return False
