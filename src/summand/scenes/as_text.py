"""Scenes in words: their description pool, and what their words name."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import SummandError
from ..text.lexicons import LEXICONS, Lexicon
from ..text.pools import BROUGHT
from .attributes import ATTRIBUTES
from .meaning import attribute_of, parse, vocabulary, words_of
from .phrases import prompts


def _all_prompts() -> list[str]:
    return [text for attribute in ATTRIBUTES for texts in prompts(attribute).values() for text in texts]


def _knows(text: str) -> bool:
    return set(words_of(text)) <= set(vocabulary())


def _values_of(text: str) -> Mapping[str, object]:
    try:
        said = parse(text)
    except SummandError:  # not in the words of the scenes
        return {}
    return said[0] if len(said) == 1 else {}


BROUGHT.add("scenes", ("every prompt of every value of Summand's own rendered scenes", _all_prompts))
LEXICONS.add("scenes", Lexicon(tuple(ATTRIBUTES), attribute_of, _knows, _values_of))
