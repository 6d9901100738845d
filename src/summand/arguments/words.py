"""Annotations and values in the words of an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from .reading import is_kind, is_shape, of_floats, trouble

_NAMES = {str: "text", int: "a whole number", float: "a finite number", bool: "True or False", NoneType: "None"}
_MANY = {str: "texts", int: "whole numbers", float: "finite numbers"}
_LONGEST = 60


def expected(hint: Any) -> str:
    """An annotation in words.

    >>> from pathlib import Path
    >>> expected(str | Path | list[str | Path] | None)
    'text, a path, a list of texts or paths, or None'
    """
    parts = list(dict.fromkeys(_word(one) for one in one_of(hint)))
    comma = "," if any(" or " in part for part in parts[:-1]) else ""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}{comma} or {parts[-1]}"


def got(value: Any) -> str:
    """A value and its kind in one short line, and what is wrong with it where its kind is right.

    >>> got(3), got(None), got("x" * 500)[:12], got(["a", 3])
    ('3 (int)', 'None', "'xxxxxxxxxxx", "['a', 3] (list)")
    """
    shape = getattr(value, "shape", None)
    if value is None:
        return "None"
    if isinstance(shape, tuple) and shape and hasattr(value, "dtype"):
        return f"{_kind(value)} of {str(value.dtype).removeprefix('torch.')} and shape {list(shape)}"
    if isinstance(value, str):
        text = repr(value) if len(value) <= _LONGEST else f"{value[:50]!r}… of {len(value):,} letters"
        return f"{text} (str){trouble(value)}"
    try:
        text = repr(value)
    except Exception:  # of the caller's class
        return f"{_kind(value)}"
    if len(text) > _LONGEST or "\n" in text or " at 0x" in text:
        size = f" of {len(value):,}" if isinstance(value, (bytes, list, tuple, dict, set)) else ""
        return f"{_kind(value)}{size}"
    return f"{text} ({_kind(value)}){trouble(value)}"


def _kind(value: Any) -> str:
    return type(value).__name__


def one_of(hint: Any) -> list[Any]:
    """The alternatives of an annotation."""
    if get_origin(hint) in (Union, UnionType):
        return [each for part in get_args(hint) for each in one_of(part)]
    return one_of(get_args(hint)[0]) if get_origin(hint) is Annotated else [hint]


def _word(hint: Any) -> str:
    origin: Any = get_origin(hint)
    inner: tuple[Any, ...] = get_args(hint)
    if is_shape(hint):
        of = "floats" if of_floats(hint) else "whole numbers or truth values"
        return f"{_a(hint.array_type.__name__)} of {of} [{hint.dim_str.strip()}]"
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}" if len(inner) > 1 else repr(*inner)
    if is_kind(hint, os.PathLike) or origin is os.PathLike:
        return "a path"
    if is_kind(origin, Callable) or hint is Callable:
        return "a function"
    if is_kind(origin, Mapping) or is_kind(hint, Mapping):
        return "a dictionary"
    if origin is tuple and inner and inner[-1] is not ...:
        return f"({', '.join(expected(each) for each in inner)})"
    if is_kind(origin, Iterable):
        return f"a list of {' or '.join(dict.fromkeys(_many(one) for one in one_of(next(iter(inner), Any))))}"
    return _NAMES.get(hint) or _a(getattr(hint, "__name__", str(hint)).partition("[")[0])


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _many(hint: Any) -> str:
    if is_shape(hint):
        return f"{hint.array_type.__name__}s [{hint.dim_str.strip()}]"
    return _MANY.get(hint) or ("paths" if _word(hint) == "a path" else f"{_word(hint).partition(' ')[2]}s")
