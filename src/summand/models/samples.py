"""A few numbers of a tensor that tell whether it was written to."""

from __future__ import annotations

from math import gcd
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ..errors import SummandError, first_line
from ..towers.finite import dispatched_plainly

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_FLOATS = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))
_COMMON = _FLOATS | {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.complex128}
_ALONE = 8  # diagonals of a matrix that are views of their own
_AT_ONCE = 32  # diagonals that are one view, where there are more
_ROUNDINGS = 64  # how many ε of its largest number a weight may be off to count as the same


def copied(tensors: list[Tensor]) -> list[Tensor]:
    """The elements that are compared, as they are now."""
    return [view.clone() for tensor in tensors for view in samples(tensor)]


def near(then: list[Tensor], now: list[Tensor]) -> bool:
    """Whether these are the same floating-point numbers up to rounding; not for none at all."""
    return bool(then) and len(then) == len(now) and all(map(_rounded, then, now))


def _rounded(then: Tensor, now: Tensor) -> bool:
    if then.shape != now.shape or then.dtype != now.dtype or then.device != now.device:
        return False
    if not then.dtype.is_floating_point:
        return torch.equal(then, now)
    allowed = _ROUNDINGS * torch.finfo(then.dtype).eps * then.abs().amax()
    return bool(((now - then).abs() <= allowed).all())


def address(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; 0 where it has no address of its own (wrapped, fake or meta tensors)."""
    try:
        return tensor.data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


def readable(tensor: Tensor) -> bool:
    """Whether a tensor's elements lie at strides: not nested, not sparse, not of a size that is still open (Lazy)."""
    return (
        not is_lazy(tensor) and tensor.layout == torch.strided and not tensor.is_nested and dispatched_plainly(tensor)
    )


def samples(tensor: Tensor) -> list[Tensor]:
    """Views of the elements that are compared."""
    if not readable(tensor) or tensor.is_meta or tensor.is_quantized or not tensor.numel():
        return []
    with torch.inference_mode(False), torch.no_grad():
        flat = tensor.detach().as_subclass(Tensor)
        while flat.ndim > 1 and 1 in flat.shape:
            flat = flat.squeeze()
        if flat.ndim <= 1:
            return [flat]
        if flat.ndim > 2:
            flat = flat.flatten(1) if flat.is_contiguous() else flat
        if flat.ndim > 2 or 0 in flat.stride():
            return [flat]
        along = flat if flat.is_contiguous() else flat.T
        in_lines = along.device.type == "cpu" and along.shape[0] < along.shape[1]  # neighbours are read at once
        return _diagonals(flat) if in_lines or not along.is_contiguous() else [_progression(along)]


def _progression(matrix: Tensor) -> Tensor:
    """An element of every row and every column, as one view: every n-th number of a matrix whose numbers lie side by
    side, for the largest n that skips no row (n ≤ columns), comes to every column (prime to their number) and needs no
    more than one round for it (n ≤ rows)."""
    rows, columns = matrix.shape
    step = next(n for n in range(min(rows, columns), 0, -1) if gcd(n, columns) == 1)
    return matrix.view(-1)[::step]


def _diagonals(matrix: Tensor) -> list[Tensor]:
    """An element of every row and every column: as many as the longer axis has, n of them for each place on the other
    one, as views: element by element, so that all of a model are gathered in one step, and what is left over.

    Down the longer axis, whole diagonals, one behind the other; where its numbers lie side by side in memory, the n
    neighbours together, which are read from there at once."""
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    (rows, columns), (down, right) = matrix.shape, matrix.stride()
    whole, rest = divmod(rows, columns)
    start = matrix.storage_offset()
    apart, along = (down, whole * down + right) if down <= right else (columns * down, down + right)
    if whole > _ALONE:
        counts = [min(_AT_ONCE, whole - first) for first in range(0, whole, _AT_ONCE)]
        begins = [start + first * apart for first in range(0, whole, _AT_ONCE)]
        views = [matrix.as_strided((n, columns), (apart, along), at) for n, at in zip(counts, begins, strict=True)]
    else:
        views = [matrix.as_strided((columns,), (along,), start + one * apart) for one in range(whole)]
    if rest:
        views.append(matrix.as_strided((rest,), (down + right,), start + whole * columns * down))
    return views


def grouped(views: list[Tensor]) -> list[list[list[Tensor]]]:
    """Those of a dtype and device together. Among these each kind by itself: whose numbers lie side by side, which are
    gathered ten times as fast, those in one dimension, and those that are copied to be in one."""
    groups: dict[Any, list[list[Tensor]]] = {}
    with torch.inference_mode(False), torch.no_grad():
        for view in views:
            beside = view.is_contiguous()
            kinds = groups.setdefault((view.dtype, view.device), [[], [], []])
            kinds[0 if beside else 1 if view.ndim == 1 else 2].append(view.view(-1) if beside else view)
    return list(groups.values())


def bits(groups: list[list[list[Tensor]]]) -> list[Tensor]:
    """What stands in these views now, in one tensor for each group."""
    with torch.inference_mode(False), torch.no_grad():
        whole = [torch.cat(_beside(*kinds)) for kinds in groups]
    return [found if found.dtype not in _FLOATS else found.view(_BITS[found.element_size()]) for found in whole]


def _beside(beside: list[Tensor], strided: list[Tensor], folded: list[Tensor]) -> list[Tensor]:
    """What stands in views of one dtype, each in one dimension and with its numbers side by side."""
    if (beside or strided or folded)[0].dtype not in _COMMON:  # complex halves, small floats: torch cannot compare them
        beside, strided, folded = ([_as_bits(view) for view in views] for views in (beside, strided, folded))
    found = [*beside, *(view.reshape(-1) for view in folded)]
    return [*found, torch.cat(strided)] if strided else found


def _as_bits(view: Tensor) -> Tensor:
    return view.resolve_conj().resolve_neg().view(_BITS[view.element_size()])


def equal(now: list[Tensor], then: list[Tensor]) -> bool:
    """Whether all these are the same; on a GPU with one wait for all of them."""
    try:
        if len({each.device for each in now}) == 1 and now[0].is_cuda:
            return not bool(torch.stack([(a != b).any() for a, b in zip(now, then, strict=True)]).any())
        return all(torch.equal(a, b) for a, b in zip(now, then, strict=True))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise SummandError(f"{HIDDEN} ({first_line(error)})") from error


HIDDEN = "the model's weights cannot be looked at in here; ask outside of tracing, export and fake tensors"
