"""What an error says of a value whose kind is right: a path that cannot be used, a number that is too large."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

from ..surroundings import remedy_of

_LARGE = 2**31


def refusal(value: Any, error: Exception) -> str:
    """What an error says of text or a path that was given; empty where it is about something else.

    >>> refusal("~nobody-of-this-name/run", RuntimeError("Could not determine home directory."))
    'is in the home of a user that this machine does not have; give the whole path'
    >>> refusal("a/b", FileNotFoundError(2, "No such file or directory", "a/b/c"))
    'cannot be used: No such file or directory; check the name'
    >>> refusal("a/b", FileNotFoundError(2, "No such file or directory", "another"))
    ''
    """
    if isinstance(error, OverflowError):
        return f"is too large, got {value:,}" if isinstance(value, Integral) and abs(int(value)) >= _LARGE else ""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        return ""
    place = os.path.expanduser(value)
    if isinstance(error, RuntimeError):
        return (
            "is in the home of a user that this machine does not have; give the whole path"
            if str(place).startswith("~")
            else ""
        )
    if not isinstance(error, OSError) or not isinstance(error.filename, (str, os.PathLike)) or not str(value):
        return ""
    absolute = os.path.abspath(place)
    if not os.path.abspath(error.filename).startswith(absolute):  # what is in it, or a part of it beside it
        return ""
    return f"cannot be used: {error.strerror}; {remedy_of(error) or 'give another path'}"
