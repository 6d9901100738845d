"""The one exception base of the package: every error a user can cause and mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SummandError(Exception):
    """What was expected, what came, and what to do about it, in one message."""


class SummandWarning(UserWarning):
    """What was done, where the caller may have meant something else."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """A hint for error messages: ", did you mean 'a' or 'b'?" or nothing when no known name is near."""
    matches = difflib.get_close_matches(word.lower(), list(known), n=count, cutoff=0.5)
    return f", did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""


def first_line(error: BaseException) -> str:
    """What another library's exception says, without its pages of advice."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for an error message; a long list is cut, and says by how much."""
    names = list(names)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "") if names else "none"
