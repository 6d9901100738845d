"""Words whose meaning is known: which attribute a text names, in the words of a world with known attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..registry import Registry


@dataclass(frozen=True)
class Lexicon:
    """A world's words. attributes: what its texts can be about.

    attribute_of: the one attribute that a text names, else None. knows: whether all words of a text are its own.
    values_of: attribute → value that a text of its own words says of one object; empty for any other text.
    """

    attributes: tuple[str, ...]
    attribute_of: Callable[[str], str | None]
    knows: Callable[[str], bool]
    values_of: Callable[[str], Mapping[str, object]]


LEXICONS: Registry[Lexicon] = Registry("text")
"""World → its words."""


def attributes() -> tuple[str, ...]:
    """The attributes of all lexicons."""
    return tuple(name for lexicon in LEXICONS.values() for name in lexicon.attributes)


def attribute_of(text: str) -> str | None:
    """The attribute that a text names in some lexicon, if it names exactly one."""
    return next((found for lexicon in LEXICONS.values() if (found := lexicon.attribute_of(text)) is not None), None)


def attribute_in_own_words(text: str) -> str | None:
    """The same where the lexicon has every word of the text."""
    found = (lexicon.attribute_of(text) for lexicon in LEXICONS.values() if lexicon.knows(text))
    return next((attribute for attribute in found if attribute is not None), None)


def values_of(text: str) -> Mapping[str, object]:
    """What a text says of one object, attribute → value, in the words of the first lexicon that reads it."""
    return next((found for lexicon in LEXICONS.values() if (found := lexicon.values_of(text))), {})
