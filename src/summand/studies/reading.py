"""What a reader must know of the images that a study was given."""

from __future__ import annotations

from collections.abc import Sequence

from ..data import Skipped

_NAMED = 5


def unread(skipped: Sequence[Skipped]) -> list[str]:
    """A sentence for each of the first files that could not be read, and one for the others."""
    found = [f"skipped {item.name}: {item.reason}" for item in skipped[:_NAMED]]
    return found + ([f"skipped {len(skipped) - _NAMED} more files"] if len(skipped) > _NAMED else [])
