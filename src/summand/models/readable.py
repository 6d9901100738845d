"""The texts of a pool that a model can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import SummandError
from ..text.pools import Pool
from .tokens import unreadable


@dataclass(frozen=True)
class Unread:
    """A text of a user's pool that the model cannot read: where it stands, and why."""

    line: int
    text: str
    reason: str


def readable(chosen: Pool, tokenizer: Callable[..., Any] | None) -> tuple[Pool, tuple[Unread, ...]]:
    """The pool without the lines of a user's list that the model cannot read, and those lines.

    A pool that comes with the package is read as a whole or not at all. Raises `SummandError` where more than half of
    the lines cannot be read, for then it is the wrong list, or the wrong model.
    """
    if tokenizer is None or not chosen.lines:
        return chosen, ()
    wrong = unreadable(tokenizer, chosen.texts)
    if not wrong:
        return chosen, ()
    left = tuple(Unread(chosen.lines[i], chosen.texts[i], reason) for i, reason in wrong.items())
    if 2 * len(wrong) > len(chosen.texts):
        raise SummandError(
            f"{chosen.name}: the model cannot read {len(wrong)} of {len(chosen.texts)} descriptions, the first in line "
            f"{left[0].line}: {left[0].reason}"
        )
    kept = [i for i in range(len(chosen.texts)) if i not in wrong]
    texts, lines = tuple(chosen.texts[i] for i in kept), tuple(chosen.lines[i] for i in kept)
    return replace(chosen, texts=texts, lines=lines), left
