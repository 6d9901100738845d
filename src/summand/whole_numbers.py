"""Whole numbers as callers have them: Python's, numpy's, and tensors and arrays of no axis."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor


def whole_number(value: Any) -> int | None:
    """The number as an int; None for anything that is no whole number, a truth value among it."""
    if isinstance(value, Tensor):
        value = value.item() if value.ndim == 0 and not value.is_meta else None
    elif isinstance(value, np.ndarray):
        value = value.item() if value.ndim == 0 else None
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def as_whole_number(value: Any) -> Any:
    """The number as an int; anything else as it came, for the error that names it."""
    number = whole_number(value)
    return value if number is None else number
