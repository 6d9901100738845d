"""Texts of someone else's (names of files, labels, captions, answers) where they are shown."""

from __future__ import annotations

import unicodedata
from typing import Any

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


def drawn(figure: Any) -> Any:
    """A figure of matplotlib whose titles, notes and legends show someone else's texts as they are: dollars begin no
    formula, and control characters, which no font has, are escapes. The numbers along its axes are left alone."""

    def is_text(artist: Any) -> bool:
        return hasattr(artist, "set_parse_math")

    ticks = {id(one) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for one in axis.findobj(is_text)}
    for one in figure.findobj(is_text):
        if id(one) not in ticks:
            one.set_parse_math(False)
            one.set_text(visible(one.get_text()))
    return figure
