"""Texts of someone else's (names of files, labels, captions, answers) where they are shown."""

from __future__ import annotations

import unicodedata

from rich.markup import escape as without_markup

_UNSEEN = ("Cc", "Cf", "Zl", "Zp")  # control characters, marks of direction, line and paragraph separators
_KEPT = ("\n", "\t")


def visible(text: str) -> str:
    r"""A text for a terminal or a page: what would steer a terminal, or turn its lines about, as escapes.

    >>> visible("two\nlines \x1b[31m \u202e")
    'two\nlines \\x1b[31m \\u202e'
    """
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _UNSEEN else escaped(c) for c in text)


def escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def escape(text: str) -> str:
    """A text that is printed as it is: without markup of the terminal's, and visible."""
    return without_markup(visible(text))
