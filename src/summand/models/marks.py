"""A model's modules and settings taken apart: marks to compare, and the tensors among them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..towers.listening import PassHook, entries
from .samples import address

PLAIN = frozenset((int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size))

UNSEEN = frozenset(
    # what torch keeps for gradients and for saving, which no output depends on, and how hooks are called
    (
        *("_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook"),
        *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"),
        *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    )
)

_DICTS = frozenset((dict, OrderedDict))

_FEW = 16

_SMALL = 4096  # bytes


def ordered(name: str, value: Any) -> Any:
    """Parameters in the order of their names: one that is registered anew goes to the end."""
    return dict(sorted(value.items())) if name in ("_parameters", "_buffers") and len(value) > 1 else value


def look(
    roots: list[nn.Module],
    aside: Iterable[nn.Module],
    left_out: tuple[frozenset[str], frozenset[str], set[tuple[int, str]]],
    rewritten: set[tuple[int, str]],
) -> tuple[list[Any], list[Tensor], list[Any], list[Tensor]]:
    """Settings and identities in their order, the tensors, what must be kept so that no identity is used again (the
    modules among it), and the tensors of attributes that passes rewrite."""
    marks: list[Any] = []
    tensors: list[Tensor] = []
    kept: list[Any] = []
    rough: list[Tensor] = []
    unseen, unread, restless = left_out
    seen = {id(module) for module in aside}
    waiting = roots[::-1]
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        kind = type(module)
        marks += (id(module), kind, kind.forward)
        kept.append(module)
        below: list[nn.Module] = []
        others = []
        for name, value in tuple(vars(module).items()):
            if name not in unseen and not (restless and (id(module), name) in restless):
                if unread and name == "_parameters" and module in roots:
                    value = {key: item for key, item in entries(value) if key not in unread}
                if type(value) in PLAIN:
                    marks.append(value)
                elif type(value) in _DICTS and _holds_nothing(value):  # most of them are
                    marks += (name, type(value))
                elif rewritten and (id(module), name) in rewritten:
                    note([ordered(name, value)], marks, rough, kept, below)
                else:
                    others.append(ordered(name, value))
        note(others, marks, tensors, kept, below)
        waiting.extend(reversed(below))
    return marks, tensors, kept, rough


def _holds_nothing(given: dict[Any, Any]) -> bool:
    """But for hooks of ours, which other threads set while they make a pass."""
    return not given or all(isinstance(item, PassHook) for _, item in entries(given))


def note(waiting: list[Any], marks: list[Any], tensors: list[Tensor], kept: list[Any], below: list[nn.Module]) -> None:
    """Takes values apart, those in lists and dicts behind the others. One loop, for there are thousands."""
    holders: set[int] = set()
    for value in waiting:  # grows meanwhile
        kind = type(value)
        if kind in PLAIN:
            marks.append(value)
        elif id(value) in holders:  # holds itself
            continue
        elif isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, nn.Module):
            below.append(value)
        elif isinstance(value, dict):
            holders.add(id(value))
            items = [item for item in entries(value) if not isinstance(item[1], PassHook)]
            keys, values = zip(*items, strict=True) if items else ((), ())
            marks += (kind, *keys) if PLAIN.issuperset(map(type, keys)) else (kind,)
            _unfold(values, waiting, marks)
        elif isinstance(value, (list, tuple, set, frozenset)):
            holders.add(id(value))
            marks.append(kind)
            _unfold(tuple(value), waiting, marks)
        elif isinstance(value, np.ndarray):
            kept.append(value)
            marks += (id(value), str(value.dtype), value.shape)
            _note_array(value, marks, tensors, waiting)
        elif isinstance(value, bytearray):
            marks.append(bytes(value))
        else:
            marks.append(id(value))
            kept.append(value)


def _unfold(items: tuple[Any, ...], waiting: list[Any], marks: list[Any]) -> None:
    if len(items) > _FEW and PLAIN.issuperset(map(type, items)):
        marks.extend(items)
    else:
        waiting.extend(items)


def _note_array(value: np.ndarray, marks: list[Any], tensors: list[Tensor], waiting: list[Any]) -> None:
    """The numbers of a small array, and a sample of those of a large one, as of a tensor."""
    if value.dtype == object:
        waiting.extend(value.ravel().tolist())
    elif value.nbytes > _SMALL and value.flags.writeable and value.dtype.kind in "fiub" and min(value.strides) >= 0:
        with suppress(TypeError):  # of a kind that torch does not know
            tensors.append(torch.from_numpy(value))
            return
    marks.append(value.tobytes() if value.nbytes <= _SMALL else hash(value.tobytes()))


def mark(tensor: Tensor) -> tuple[Any, ...]:
    """Address, version and form."""
    if is_lazy(tensor):  # has no form yet
        return 0, 0, tensor.dtype, tensor.device, (), ()
    version = 0 if tensor.is_inference() else tensor._version
    if tensor.is_nested:
        return address(tensor), version, tensor.dtype, tensor.device, tensor.layout, tensor.size(0)
    strides = tensor.stride() if tensor.layout == torch.strided else ()
    return address(tensor), version, tensor.dtype, tensor.device, tensor.shape, strides


_FORM = attrgetter("_version", "dtype", "device", "shape")


def columns(tensors: list[Tensor]) -> tuple[list[Any], ...] | None:
    """The marks of many tensors at once, one kind after the other; None where one of them is no ordinary tensor."""
    with suppress(RuntimeError, NotImplementedError, ValueError):  # inference, nested, sparse, uninitialised tensors
        return list(map(Tensor.data_ptr, tensors)), list(map(_FORM, tensors)), list(map(Tensor.stride, tensors))
    return None
