"""What can be asked of `summand scenes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ScenesOptions:
    """Which scenes are drawn."""

    seed: int = 0
    """The same seed draws the same scenes."""
    groups: int = 1
    """Groups of objects a scene: 1 or 2."""
    shift: Sequence[str] = ()
    """attribute/value/share, as in place/sea/0.3; may be given more than once."""
    tie: Sequence[str] = ()
    """cause/effect/share, as in shape/place/0.95; may be given more than once."""
    text: str | None = None
    """Draw the described scene."""
