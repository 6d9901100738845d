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
    if in_addends(left, right):
        return addends(left, right).sum(dim=1)
    both = _both_parts(_in_two(left, right.dtype), right)
    return both.unflatten(2, (2, left.shape[1])).sum(dim=(0, 2), dtype=torch.float32)


def in_addends(left: Tensor, right: Tensor) -> bool:
    """Whether `mixed_product` is the sum of two products that are written in fp32."""
    return right.dtype in HALVES and left.is_cuda and _writes_fp32()


def addends(
    left: Float[Tensor, "batch row inner"], right: Float[Tensor, "batch inner column"]
) -> Float[Tensor, "batch 2 row column"]:
    """What `mixed_product` is the sum of, where it is one: to be added up later, together with others."""
    found = torch.bmm(_in_two(left, right.dtype), right, out_dtype=torch.float32)
    return found.unflatten(1, (2, left.shape[1]))


def _in_two(left: Tensor, dtype: torch.dtype) -> Float[Tensor, "batch two_rows inner"]:
    """What a half holds of the numbers, above what it leaves over. Column by column where the factor lies so, and where
    only this makes the lines in memory begin at multiples of eight, which a GPU's fast kernels want."""
    batch, rows, inner = left.shape
    turned = rows > 1 and (left.stride(1) == 1 or (left.is_cuda and inner % 8 > 0 and 2 * rows % 8 == 0))
    shape = (batch, inner, 2, rows) if turned else (batch, 2, rows, inner)
    parts = torch.empty(shape, dtype=dtype, device=left.device)
    each = parts.permute(0, 2, 3, 1) if turned else parts
    each[:, 0].copy_(left)
    torch.sub(left, each[:, 0], out=each[:, 1])
    return parts.flatten(2).transpose(1, 2) if turned else parts.flatten(1, 2)


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
