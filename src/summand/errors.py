"""The one exception base of the package: every error a user can cause and mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SummandError(Exception):
    """What was expected, what came, and what to do about it, in one message."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """A hint for error messages: ", did you mean 'a' or 'b'?" or nothing when no known name is near."""
    matches = difflib.get_close_matches(word.lower(), list(known), n=count, cutoff=0.5)
    return f", did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""
