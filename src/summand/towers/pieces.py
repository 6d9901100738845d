"""One token of a text as the piece of text that it is."""

from __future__ import annotations

from dataclasses import dataclass

START, END, PAD, CLASS = "<start>", "<end>", "<pad>", "<class>"
SPECIAL = frozenset((START, END, PAD, CLASS))


@dataclass(frozen=True)
class Piece:
    """One token as text. opens: whether a new word begins here."""

    text: str
    opens: bool = True
