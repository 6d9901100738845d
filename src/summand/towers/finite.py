"""Numbers that can be computed with: finite, and of a size whose squares are."""

from __future__ import annotations

import re
from cmath import isfinite
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.nn.parameter import is_lazy

from ..border import foreign
from ..errors import SummandError
from .base import wants_gradient

_WIDE = frozenset((torch.float32, torch.float64, torch.complex64, torch.complex128))


def all_finite(numbers: Tensor) -> bool:
    """Whether none is NaN or infinite. A finite sum has only finite parts; one that is not may have overflown, so only
    then is every number looked at."""
    wide = numbers.dtype if numbers.dtype in _WIDE else torch.float32
    return isfinite(_read(numbers.detach().sum(dtype=wide))) or bool(torch.isfinite(numbers).all())


def _read(number: Tensor) -> Any:
    """One number as Python's; read where it lies, with no step of torch's own, where that is the host."""
    if number.device.type == "cpu" and type(number) is Tensor:
        with suppress(RuntimeError):  # within a transform it lies nowhere
            return complex(number.numpy())
    return number.item()


def dispatched_plainly(tensor: Tensor) -> bool:
    """Whether nothing stands between torch and the tensor's numbers."""
    return foreign(type(tensor)).__torch_dispatch__ is foreign(Tensor).__torch_dispatch__


def check_plain(numbers: Tensor, what: str) -> None:
    """Raises `SummandError` for a tensor whose numbers cannot be read now: within vmap, grad or jvp of torch.func, with
    a forward-mode tangent, fake. What is made without gradients there would come out as constant, silently."""
    plain = dispatched_plainly(numbers)
    try:
        numbers.data_ptr()
    except RuntimeError:
        plain = False
    if not plain or unpack_dual(numbers).tangent is not None:
        raise SummandError(
            f"{what} must be an ordinary tensor of numbers; got one of a transform (vmap, grad or jvp of torch.func, "
            f"forward-mode derivatives, fake tensors), through which no question is differentiated or batched: ask "
            f"outside of it"
        )


def check_finite(numbers: Tensor, what: str, remedy: str) -> None:
    """Raises `SummandError` that says how many rows of the last axis are not finite, and which is the first. what: of
    what kind a row is, as "text"."""
    if all_finite(numbers):
        return
    rows = (~torch.isfinite(numbers).reshape(-1, numbers.shape[-1]).all(dim=1)).nonzero()[:, 0]
    raise SummandError(
        f"{len(rows)} of {numbers.numel() // numbers.shape[-1]} {what}s hold NaN or infinite numbers, "
        f"the first is {what} {int(rows[0])}; {remedy}"
    )


def power_of_two(numbers: Tensor, dim: int | None = None) -> Tensor:
    """A power of two as large as the largest of the numbers (along an axis, which stays): dividing by it rounds nothing
    and keeps their squares within the range of their dtype. 1 for zeros."""
    largest = numbers.abs().amax() if dim is None else numbers.abs().amax(dim=dim, keepdim=True)
    exponent = torch.frexp(largest).exponent - 1
    # by its bits: older releases of torch raise 2 to a power in fp32, where 2¹²⁸ is infinite
    if numbers.dtype == torch.float32:
        power = (exponent.int().clamp(min=-126) + 127 << 23).view(torch.float32)
    else:
        power = (exponent.long().clamp(min=-1022) + 1023 << 52).view(torch.float64).to(numbers.dtype)
    return torch.where(largest > 0, power, 1)


def broken_weights(module: nn.Module) -> Iterator[str]:
    """Parameters and buffers that hold NaN or infinite numbers, by name. A mask of −∞ is as it should be."""
    for name, value in module.named_parameters():
        if _lies_here(value) and value.is_floating_point() and not all_finite(value.detach()):
            yield name
    for name, value in module.named_buffers():
        if _lies_here(value) and value.is_floating_point() and bool((torch.isnan(value) | (value == torch.inf)).any()):
            yield name


_LAST = re.compile(
    r"(visual\.proj|(text\.)?text_projection(\.weight)?|visual_projection\.weight|visual\.attnpool\.c_proj\.weight|"
    r"visual\.head\.proj\.weight|text\.proj\.weight)$"
)


def empty_projections(module: nn.Module) -> list[str]:
    """Projections into the space of embeddings that are all zero: with one, all images or all texts are one point."""
    ends = [(name, value) for name, value in module.named_parameters() if _LAST.match(name)]
    return [name for name, value in ends if _lies_here(value) and value.numel() and not bool(value.detach().any())]


def _lies_here(value: Tensor) -> bool:
    """Whether a tensor's numbers can be looked at one by one."""
    return not (is_lazy(value) or value.is_nested or value.is_meta) and value.layout == torch.strided


def check_directions(directions: Any, embed: int) -> None:
    """Raises `SummandError` unless these are finite numbers [direction, embed]."""
    if not isinstance(directions, Tensor) or directions.ndim != 2 or directions.shape[1] != embed:
        got = list(directions.shape) if isinstance(directions, Tensor) else type(directions).__name__
        raise SummandError(f"directions must be a tensor [direction, {embed}] for this model, got {got}")
    if directions.layout != torch.strided or directions.is_meta or not directions.is_floating_point():
        where = "on meta" if directions.is_meta else f"{directions.layout} of {directions.dtype}"
        raise SummandError(f"directions must be an ordinary tensor of floating-point numbers, got one {where}")
    if not wants_gradient(directions):  # gradients lead back to directions, also those of torch.func
        check_plain(directions, "directions")
    if not all_finite(directions.detach()):
        raise SummandError("directions must be finite, got NaN or infinite numbers")
