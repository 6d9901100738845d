"""The texts of a pool that a model can read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import SummandError, SummandWarning
from ..text.pools import Pool
from .tokens import unreadable


@dataclass(frozen=True)
class Unread:
    """A text of a user's pool that the model cannot read: where it stands, and why."""

    line: int
    text: str
    reason: str


def readable(chosen: Pool, tokenizer: Callable[..., Any] | None) -> tuple[Pool, tuple[Unread, ...]]:
    """The pool without the texts that the model cannot read, and those lines of a user's list that were left out.

    Of a pool that comes with the package it is said once, as a `SummandWarning`, how many were left out. Raises
    `SummandError` where more than half of a user's lines cannot be read, for then it is the wrong list, or the wrong
    model, and where nothing of a shipped pool can.
    """
    if tokenizer is None:
        return chosen, ()
    if not chosen.lines:
        return _shipped(chosen, tokenizer), ()
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


_READ: WeakKeyDictionary[Any, dict[Pool, Pool]] = WeakKeyDictionary()
"""Tokenizer → shipped pool → what it reads of it."""


def _shipped(chosen: Pool, tokenizer: Callable[..., Any]) -> Pool:
    try:
        known = _READ.setdefault(tokenizer, {})
    except TypeError:  # one that cannot be remembered
        known = {}
    if chosen not in known:
        wrong = unreadable(tokenizer, chosen.texts)
        if len(wrong) == len(chosen.texts):
            raise SummandError(
                f"the model can read none of the {len(wrong):,} descriptions of the pool {chosen.name!r}: {wrong[0]}. "
                f"Give descriptions in its own words, or say what its world is: summand.wrap(…, world=…)"
            )
        if wrong:
            warnings.warn(
                f"{len(wrong):,} of {len(chosen.texts):,} descriptions of the pool {chosen.name!r} are left out, since "
                f"the model cannot read them; the first: {next(iter(wrong.values()))}",
                SummandWarning,
                stacklevel=3,
            )
        kept = tuple(text for i, text in enumerate(chosen.texts) if i not in wrong)
        known[chosen] = replace(chosen, texts=kept) if wrong else chosen
    return known[chosen]


def refuse_unknown(whole: Pool, kept: Pool) -> None:
    """Raise `SummandError` where the model can read less than half of a pool: words from what is left say little."""
    left = len(whole.texts) - len(kept.texts)
    if 2 * left > len(whole.texts):
        raise SummandError(
            f"the model cannot read {left:,} of the {len(whole.texts):,} descriptions of the pool {whole.name!r} "
            f"(words that its tokenizer does not know); give a pool in its own words: pool=[…] or a text file"
        )
