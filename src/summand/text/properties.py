"""What a text is about in one word: the attribute of a scene ("colour"), or the list it comes from ("lighting")."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..errors import SummandError, nearest
from .labels import HeadLabel
from .lexicons import attribute_in_own_words, attributes
from .phrases import descriptions

_TEXTS_THAT_NAME = 3


def property_of(text: str) -> str | None:
    """The property that a text names: the attribute of a scene, or the list of the pool `general` with it, or None.

    >>> property_of("a red object"), property_of("a photo dominated by yellow"), property_of("the quick brown fox")
    ('colour', 'colour', None)
    """
    return attribute_in_own_words(text) or _listed().get(text.casefold())


def property_of_head(label: HeadLabel) -> str | None:
    """The property that a head's first three texts name, each counted by the variance it adds."""
    votes: dict[str, float] = {}
    before = 0.0
    for text, share in list(zip(label.texts, label.explained, strict=True))[:_TEXTS_THAT_NAME]:
        named = property_of(text)
        if named is not None:
            votes[named] = votes.get(named, 0.0) + share - before
        before = share
    return max(votes, key=lambda name: votes[name]) if votes else None


def heads_of_property(labels: Sequence[HeadLabel], name: str) -> list[HeadLabel]:
    """The heads whose labels name a property. Raises `SummandError` that lists the properties that some head has."""
    name = name.strip().lower()
    name = name[:-1] if name[:-1] in attributes() else name
    named = {label.name: property_of_head(label) for label in labels}
    found = [label for label in labels if named[label.name] == name]
    if not found:
        known = sorted({value for value in named.values() if value is not None})
        raise SummandError(
            f"no head of these layers is labelled {name!r}{nearest(name, known)} "
            f"(there are: {', '.join(known) or 'none'})"
        )
    return found


@lru_cache(maxsize=1)
def _listed() -> dict[str, str]:
    singular = {f"{attribute}s": attribute for attribute in attributes()}  # the list `colours` is the property colour
    return {text.casefold(): singular.get(name, name) for name, texts in descriptions().items() for text in texts}
