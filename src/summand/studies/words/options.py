"""What can be asked of `words`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordsOptions:
    """Options of `summand.words`."""

    versus: str | None = None
    """Similarity with this text [default: the text itself]."""
