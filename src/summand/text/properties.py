"""What a text is about in one word: the attribute of a scene ("colour"), or the list it comes from ("lighting")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError, nearest
from .labels import HeadLabel
from .lexicons import attribute_in_own_words, attributes
from .phrases import descriptions
from .pools import Pool

_TEXTS_THAT_NAME = 3


def property_of(text: str, pool: Pool | None = None) -> str | None:
    """The property that a text names: what its pool says, else the attribute of a scene, or the list of the pool
    `general` with it, or None.

    >>> property_of("a red object"), property_of("a photo dominated by teal"), property_of("the quick brown fox")
    ('colour', 'colour', None)
    """
    own = None if pool is None else pool.properties.get(text)
    listed = _listed().get(text.casefold())
    # a list that is called as an attribute knows better than single words: "grey" alone is a place of scenes
    return own or (listed if listed in attributes() else None) or attribute_in_own_words(text) or listed


def kinds(pool: Pool) -> dict[str, list[int]]:
    """Property → the places of its texts in a pool: what each of them is to be told apart from."""
    found: dict[str, list[int]] = {}
    for place, text in enumerate(pool.texts):
        named = property_of(text, pool)
        if named is not None:
            found.setdefault(named, []).append(place)
    return found


def contrast_of(text: str, pool: Pool) -> list[str]:
    """What a text of a pool is told apart from: the other texts of its kind, or all others where its kind is not known
    or holds nothing else."""
    kin = kinds(pool).get(property_of(text, pool) or "", [])
    others = [pool.texts[place] for place in kin if pool.texts[place] != text]
    return others or [other for other in pool.texts if other != text]


def texts_of_property(pool: Pool, name: str) -> list[int]:
    """The places of a property's texts in a pool. Raises `SummandError` that lists the properties of the pool where it
    has none, or one text alone, which is told apart from nothing."""
    known = kinds(pool)
    name = name.strip().lower()
    name = name[:-1] if name not in known and name[:-1] in known else name
    if len(known.get(name, ())) < 2:
        able = sorted(each for each, places in known.items() if len(places) > 1)
        raise SummandError(
            f"the pool {pool.name} has no texts of {name!r}{nearest(name, able)} (there are: "
            f"{', '.join(able) or 'none'}); a table with columns text and property as pool= names others"
        )
    return known[name]


def axes_of_property(texts: Float[Tensor, "text embed"], share: float = 0.99) -> Float[Tensor, "axis embed"]:
    """An orthonormal basis of the differences between texts: their first principal axes that hold this share of their
    variance, at most a quarter of the dimensions."""
    centred = texts.double() - texts.double().mean(dim=0)
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    held = (sizes**2).cumsum(0) / (sizes**2).sum().clamp(min=1e-30)
    count = int((held < share).sum()) + 1
    return axes[: max(1, min(count, len(texts) - 1, texts.shape[1] // 4))]


def property_of_head(label: HeadLabel, pool: Pool | None = None) -> str | None:
    """The property that a head's first three texts name, each counted by the variance it adds."""
    votes: dict[str, float] = {}
    before = 0.0
    for text, share in list(zip(label.texts, label.explained, strict=True))[:_TEXTS_THAT_NAME]:
        named = property_of(text, pool)
        if named is not None:
            votes[named] = votes.get(named, 0.0) + share - before
        before = share
    return max(votes, key=lambda name: votes[name]) if votes else None


def heads_of_property(
    labels: Sequence[HeadLabel],
    name: str,
    pool: Pool | None = None,
    known: Mapping[tuple[int, int], str | None] | None = None,
) -> list[HeadLabel]:
    """The heads whose labels name a property. known: (layer, head) → that of the label in a survey, if any; of other
    heads it is what their first texts name. Raises `SummandError` that lists the properties that some head has."""
    name = name.strip().lower()
    name = name[:-1] if name[:-1] in attributes() else name
    said = {} if known is None else known
    named = {
        label.name: said[unit] if (unit := (label.layer, label.head)) in said else property_of_head(label, pool)
        for label in labels
    }
    found = [label for label in labels if named[label.name] == name]
    if not found:
        able = sorted({value for value in named.values() if value is not None})
        raise SummandError(
            f"no head of these layers is labelled {name!r}{nearest(name, able)} "
            f"(there are: {', '.join(able) or 'none'})"
        )
    return found


@lru_cache(maxsize=1)
def _listed() -> dict[str, str]:
    singular = {f"{attribute}s": attribute for attribute in attributes()}  # the list `colours` is the property colour
    return {text.casefold(): singular.get(name, name) for name, texts in descriptions().items() for text in texts}
