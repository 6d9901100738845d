"""The things that can change, in words: values of attributes where a lexicon knows them, texts of a pool elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import Model
from ...text.lexicons import values_of
from ...text.pools import Pool
from ...text.properties import property_of


@dataclass(frozen=True)
class Concepts:
    """names: what each is called. properties: what each is a value of, or None. values: the value where the texts name
    one ("sea"), else None. directions: t − the mean of its siblings (of all, where it has none)."""

    names: tuple[str, ...]
    properties: tuple[str | None, ...]
    values: tuple[str | None, ...]
    directions: Float[Tensor, "concept embed"]

    def of(self, name: str | None) -> list[int]:
        """The concepts that are values of a property."""
        return [i for i, other in enumerate(self.properties) if other == name and name is not None]


def concepts(model: Model, pool: Pool) -> Concepts:
    """Texts of a pool that name the same value of the same attribute are one concept, called by the first of them.

    A concept's direction is its mean text minus the mean of the concepts with the same property: "red" as against the
    other colours, since what all colours share says nothing of which one became more frequent.
    """
    embeddings = model.encode_text(pool.texts).cpu().double()
    grouped: dict[tuple[str | None, str], list[int]] = {}
    for i, text in enumerate(pool.texts):
        grouped.setdefault(_meaning(text, pool), []).append(i)
    keys = list(grouped)
    means = torch.stack([embeddings[rows].mean(dim=0) for rows in grouped.values()])
    properties = tuple(name for name, _ in keys)
    directions = means - means.mean(dim=0)
    for name in set(properties) - {None}:
        rows = [i for i, other in enumerate(properties) if other == name]
        if len(rows) > 1:
            directions[rows] = means[rows] - means[rows].mean(dim=0)
    names = tuple(pool.texts[rows[0]] for rows in grouped.values())
    values = tuple(value if value != name else None for (_, value), name in zip(keys, names, strict=True))
    return Concepts(names, properties, values, directions)


def _meaning(text: str, pool: Pool) -> tuple[str | None, str]:
    """(property, value), where value is the text itself unless it names one value of an attribute."""
    named = property_of(text, pool)
    values = values_of(text)
    return (named, str(values[named])) if named is not None and list(values) == [named] else (named, text)
