"""What one user has asked so far."""

from __future__ import annotations

from dataclasses import dataclass

from .moved import Moved
from .off import Off
from .question import Along, Reading, Terms


@dataclass(frozen=True)
class Session:
    """One user's question: the picture taken apart, what it is asked of, what is switched off with the terms that are
    left, the head that is looked at, and the patch; a unit inside heads that is looked at, those that the picture moves
    (None before that was asked), and whether words were. Never changed: an answer is a new one."""

    reading: Reading
    along: Along
    off: Off
    terms: Terms
    head: str
    place: tuple[int, int] | None = None
    unit: str | None = None
    moved: tuple[Moved, ...] | None = None
    spoken: bool = False
