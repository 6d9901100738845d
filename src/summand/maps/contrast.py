"""The texts that a text is held against in a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..models import Model
from ..models.readable import readable
from ..text.pools import names as pool_names
from ..text.pools import pool


def default_contrast(model: Model) -> list[str]:
    """What the model can read of a spread of the description pool that fits it."""
    spread = replace(pool(model.world.pool), texts=tuple(model.world.contrast()))
    return list(readable(spread, model._tokenizer)[0].texts)


def contrast_texts(given: str | Sequence[str]) -> list[str]:
    """The texts of a pool by name, of a file, or as they are; a string of several words is a text itself."""
    if not isinstance(given, str):
        return list(given)
    if " " in given.strip() and given not in pool_names() and not given.lower().endswith(".txt"):
        return [given]
    return list(pool(given).texts)
