"""CLIP's own vocabulary, read once: open_clip unpacks its file anew, 0.2 s, for each of the tests' many tokenizers."""

from __future__ import annotations

import copy
import functools
from typing import Any


def read_once() -> None:
    """From here on a `SimpleTokenizer` gets copies of what the first one with its options read."""
    from open_clip.tokenizer import SimpleTokenizer

    plain = SimpleTokenizer.__init__

    @functools.cache
    def read(*args: Any, **options: Any) -> dict[str, Any]:
        made = object.__new__(SimpleTokenizer)
        plain(made, *args, **options)
        return vars(made)

    @functools.wraps(plain)
    def init(self: SimpleTokenizer, *args: Any, **options: Any) -> None:
        try:
            found = read(*args, **options)
        except TypeError:  # a list of special tokens
            plain(self, *args, **options)
        else:
            vars(self).update({name: copy.copy(value) for name, value in found.items()})

    SimpleTokenizer.__init__ = init
