"""What annotations are, and what numbers and texts may be, however they are annotated."""

from __future__ import annotations

import math
import os
from numbers import Integral, Real
from typing import Any

LARGEST = 2**63
"""Whole numbers from here on fit into no tensor."""


def is_kind(kind: Any, of: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, of)


def is_shape(hint: Any) -> bool:
    """Whether it is an array of jaxtyping's."""
    return hasattr(hint, "array_type") and hasattr(hint, "dim_str")


def of_floats(hint: Any) -> bool:
    """Whether a shape of jaxtyping's is one of floating numbers."""
    return any("float" in name for name in hint.dtypes)


def plain(value: Any) -> Any:
    """The number in a tensor of no axis, and a number of numpy's as Python's; anything else as it is."""
    if type(value).__name__ == "ndarray" or not hasattr(value, "item") or getattr(value, "is_meta", False):
        return value
    return value.item() if getattr(value, "ndim", 1) == 0 else value


def is_whole(value: Any) -> bool:
    """No truth value either."""
    value = plain(value)
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) < LARGEST


def is_finite(value: Any) -> bool:
    value = plain(value)
    if isinstance(value, Integral):
        return abs(int(value)) < LARGEST
    return isinstance(value, Real) and math.isfinite(value)


def trouble(value: Any) -> str:
    """What is wrong with a number that is one, and with text that is text.

    >>> trouble("a\\0b"), trouble("a"), trouble(10**30)
    (', which holds the character NUL', '', ', which no tensor can hold')
    """
    if isinstance(value, Integral) and abs(int(value)) >= LARGEST:
        return ", which no tensor can hold"
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(value, str):
        return ""
    if "\0" in value:
        return ", which holds the character NUL"
    try:
        value.encode("utf-8", "surrogateescape")  # names of files may hold bytes that are no UTF-8
    except UnicodeEncodeError:
        return ", which is no Unicode text"
    return ""
