"""The tokenizer that goes with a model of open_clip, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import first_line
from ..towers.border import foreign
from .callers_tokenizers import vocabulary_size
from .tokens import MissingTokenizer

_ERRORS = (OSError, RuntimeError, ValueError, KeyError, ImportError, TypeError, AttributeError)


def tokenizer_of(name: str, clip: nn.Module, context: int | None) -> Callable[..., Any]:
    """open_clip's own choice. A model with fewer tokens than CLIP's 49,408 gets the tokenizer of its folder, whether
    its configuration names it or not. context: tokens of a text, where the weights say another number than the name."""
    import open_clip

    try:
        options: dict[str, Any] = {} if context is None else {"context_length": context}
        found = open_clip.get_tokenizer(name, **options)
    except _ERRORS as error:
        return MissingTokenizer(first_line(error))
    known, read = getattr(found, "vocab_size", 0), vocabulary_size(clip)
    if not isinstance(found, open_clip.SimpleTokenizer) or read is None or known <= read:
        return found
    return _of_folder(name, foreign(found).context_length, read)


def _of_folder(name: str, context: int, read: int) -> Callable[..., Any]:
    from open_clip.tokenizer import HFTokenizer

    scheme, _, place = name.partition(":")
    missing = (
        f"the model reads {read:,} different tokens, which is not CLIP's own vocabulary, and no tokenizer is named. "
        f"Put tokenizer.json beside the weights (transformers' save_pretrained writes it), or wrap(model, tokenizer=…)"
    )
    here = scheme == "local-dir" and (Path(place) / "tokenizer.json").is_file()
    if not (here or scheme == "hf-hub"):
        return MissingTokenizer(missing)
    try:
        return HFTokenizer(place, context_length=context)
    except _ERRORS as error:
        return MissingTokenizer(f"{missing} ({first_line(error)})")
