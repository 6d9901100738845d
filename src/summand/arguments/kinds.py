"""Whether a value is certainly something else than its annotation asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from .reading import is_finite, is_kind, is_shape, is_whole, of_floats, plain, trouble
from .words import one_of

_LOOKED_AT = 10_000  # items of a list


def misfit(value: Any, hint: Any) -> bool:
    """Whether it is surely none of the kinds of an annotation. What cannot be told fits.

    >>> misfit(3, str | None), misfit(None, str | None), misfit(["a", 3], list[str]), misfit(3, "a name of nothing")
    (True, False, True, False)
    """
    return all(_is_other(value, one) for one in one_of(hint))


def _is_other(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if is_shape(hint):
        return _is_other_array(value, hint)
    if origin is Literal:
        return not any(type(value) is type(each) and value == each for each in inner)
    if origin is os.PathLike or is_kind(hint, os.PathLike):
        return not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes) or bool(trouble(value))
    if is_kind(origin, Callable) or hint is Callable:
        return not callable(value)
    if is_kind(origin, Mapping):
        return not isinstance(value, Mapping)
    if origin is tuple:
        return _is_other_tuple(value, inner)
    if is_kind(origin, Sequence) and isinstance(value, Set):
        return True
    if is_kind(origin, Iterable):
        return _is_no_list(value, inner[0] if inner else Any)
    return _is_other_kind(value, hint)


def _is_other_kind(value: Any, hint: Any) -> bool:
    if hint is None or hint is NoneType:
        return value is not None
    if hint is bool:
        return not isinstance(plain(value), int) and type(value).__name__ not in ("bool", "bool_")
    if hint is int:
        return not is_whole(value)
    if hint is float:
        return not is_finite(value)
    if hint is str:
        return not isinstance(value, str) or bool(trouble(value))
    if not isinstance(hint, type):
        return False
    try:
        return not isinstance(value, hint)
    except TypeError:  # a protocol that says nothing at run time
        return False


def _is_other_array(value: Any, hint: Any) -> bool:
    """Another class, whole numbers for floating ones, or another number of axes where that is fixed. Never the
    precision, nor the length of an axis."""
    if not isinstance(value, hint.array_type):
        return True
    if of_floats(hint) and "float" not in str(value.dtype):
        return True
    return hint.index_variadic is None and value.ndim != len(hint.dims)


def _is_other_tuple(value: Any, inner: tuple[Any, ...]) -> bool:
    if not inner or inner[-1] is ...:
        return _is_no_list(value, inner[0] if inner else Any)
    if not isinstance(value, (tuple, list)):
        return not hasattr(value, "shape") or getattr(value, "ndim", 0) == 0
    return len(value) != len(inner) or any(misfit(each, kind) for each, kind in zip(value, inner, strict=True))


def _is_no_list(value: Any, kind: Any) -> bool:
    """Text, bytes, a dictionary, a path, and what cannot be gone through; a list with an item of another kind."""
    if isinstance(value, str):
        return kind is not str or bool(trouble(value))
    if isinstance(value, (bytes, bytearray, Mapping, os.PathLike)) or getattr(value, "shape", None) == ():
        return True
    if isinstance(value, Iterator):
        return False  # it can be gone through once
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(misfit(each, kind) for each in [*value][:_LOOKED_AT])
    if hasattr(value, "dtype") and hasattr(value, "ndim"):
        return _is_other_row(value, kind)
    return not hasattr(value, "__iter__") and not hasattr(value, "__getitem__")


def _is_other_row(value: Any, kind: Any) -> bool:
    """Of an array or a tensor in the place of a list: whether its items are something else."""
    kinds, of = one_of(kind), str(value.dtype)
    if any(one is Any or is_shape(one) or get_origin(one) is not None for one in kinds):
        return False
    numbers = [one for one in kinds if one in (int, float)]
    texts = of.startswith(("<U", ">U", "object", "Str"))
    return value.ndim != 1 or not (texts or numbers) or (numbers == [int] and "float" in of)
