"""What a tokenizer made of a text: how many tokens it needs, and which piece of the text each token is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

from ..errors import SummandError, first_line
from .callers_tokenizers import UNKNOWN, RawTokenizer, core_of, is_raw


class HuggingFaceTokenizer:
    """texts → token ids, int64 [text, token]; the padding that the model was trained with.

    whole: pad every text to context_length (CLIP and SigLIP, which reads its padding), else to the longest text only
    (a BERT, which is told where the padding is).
    """

    def __init__(self, tokenizer: Any, context_length: int, whole: bool = True) -> None:
        self.tokenizer, self.context_length = tokenizer, context_length
        self.padding: bool | str = "max_length" if whole else True

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        texts = [texts] if isinstance(texts, str) else list(texts)
        return self.tokenizer(
            texts, padding=self.padding, truncation=True, max_length=self.context_length, return_tensors="pt"
        ).input_ids


class MissingTokenizer:
    """Stands for a tokenizer that could not be had, so that work on images alone goes on without it."""

    said = "the tokenizer could not be loaded, so no text can be read"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self, texts: Sequence[str]) -> Tensor:
        raise SummandError(f"{self.said}: {self.reason}")


class NoTexts(MissingTokenizer):
    """Stands for the tokenizer of a model that reads no texts."""

    said = "this model reads images alone, so no text can be read"


def hugging_face_tokenizer(found: Any, text_config: Any) -> HuggingFaceTokenizer | MissingTokenizer:
    """A tokenizer of transformers with the context and the padding that a text tower's configuration asks for."""
    context = text_config.max_position_embeddings
    if not text_config.model_type.startswith(("altclip", "chinese_clip")):
        return HuggingFaceTokenizer(found, context)
    pad = text_config.pad_token_id
    if found.pad_token_id != pad:
        return MissingTokenizer(f"it pads with token {found.pad_token_id}, the model takes token {pad} for padding")
    if text_config.model_type.startswith("altclip"):  # RoBERTa counts positions from behind the padding's number
        context -= pad + 1
    return HuggingFaceTokenizer(found, min(context, found.model_max_length), whole=False)


def as_tokenizer(tokenizer: Any, clip: Any) -> Callable[..., Any] | None:
    """What the caller gives as tokenizer, callable with texts alone: a processor or a tokenizer of transformers is
    wrapped for the text tower of `clip`, so is one of the tokenizers package; everything else is left as it is."""
    text_config = getattr(getattr(clip, "config", None), "text_config", None)
    context = getattr(getattr(clip, "text", clip), "context_length", None)
    if is_raw(tokenizer):
        return RawTokenizer(tokenizer, context or getattr(text_config, "max_position_embeddings", 77))
    found = tokenizer if hasattr(tokenizer, "convert_ids_to_tokens") else getattr(tokenizer, "tokenizer", None)
    ours = found is tokenizer or hasattr(tokenizer, "image_processor")
    if found is None or not ours or not hasattr(found, "convert_ids_to_tokens"):
        return tokenizer
    if text_config is not None:
        return hugging_face_tokenizer(found, text_config)
    return HuggingFaceTokenizer(found, context or found.model_max_length)


def tokenized(tokenizer: Callable[..., Any], texts: Sequence[str]) -> Any:
    """tokenizer(texts). Raises `SummandError` where the tokenizer refuses a text, as the clip package's does one that
    is too long."""
    try:
        return tokenizer(list(texts))
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        raise SummandError(f"the tokenizer cannot read these texts: {first_line(error)}") from error


def check_length(tokenizer: Callable[..., Any], texts: Sequence[str], tokens: Tensor) -> None:
    """Raise `SummandError` for a text that did not fit: open_clip's tokenizers cut it off silently.

    tokens: what the tokenizer made of the texts, [text, token]. A tokenizer of the caller's own is trusted.
    """
    context = tokens.shape[-1]
    suspects: Iterable[int] = range(len(texts))
    end = getattr(tokenizer, "eot_token_id", None)
    if end is not None:  # SimpleTokenizer: only a full row, whose last token is the end token, can have been cut
        suspects = (tokens[:, -1] == end).nonzero()[:, 0].tolist()
    for i in suspects:
        needed = count_tokens(tokenizer, texts[i])
        if needed is not None and needed > context:
            shown = texts[i] if len(texts[i]) <= 80 else f"{texts[i][:77]}..."
            raise SummandError(f"a text needs {needed} tokens, the model reads {context}; shorten it: {shown!r}")


def unreadable(tokenizer: Callable[..., Any], texts: Sequence[str], at_once: int = 256) -> dict[int, str]:
    """Which texts the model cannot read, and why: too long for its context, or of words that it does not know."""
    found: dict[int, str] = {}
    unknown = unknown_token(tokenizer)

    def look(start: int, stop: int) -> None:
        some = list(texts[start:stop])
        try:
            tokens = tokenizer(some)
            if isinstance(tokens, Tensor) and tokens.ndim == 2:
                check_length(tokenizer, some, tokens)
                if unknown is not None:
                    count = (tokens == unknown).sum(dim=1).tolist()
                    found.update({start + i: _unknown(some[i], many) for i, many in enumerate(count) if many})
        except Exception as error:  # a tokenizer of the caller's own says it in its own way
            if stop - start == 1:
                found[start] = first_line(error)
                return
            middle = (start + stop) // 2
            look(start, middle)
            look(middle, stop)

    for start in range(0, len(texts), at_once):
        look(start, min(start + at_once, len(texts)))
    return found


def unknown_token(tokenizer: Callable[..., Any]) -> int | None:
    """The token that stands for every word that a tokenizer does not know; None where it has none, as a byte-level one
    has not, or where another mark (CLIP's own end of text) has the same number."""
    core = core_of(tokenizer)
    if is_raw(core):
        return next((i for name in UNKNOWN if (i := core.token_to_id(name)) is not None), None)
    found = getattr(core, "unk_token_id", None)
    if found is None:  # a tokenizer of the caller's own with a table of its words
        tables = [table for table in getattr(core, "__dict__", {}).values() if isinstance(table, dict)]
        found = next((table[name] for table in tables for name in UNKNOWN if name in table), None)
    marks = {getattr(core, f"{mark}_token_id", None) for mark in ("bos", "eos", "pad", "cls", "sep")}
    return found if isinstance(found, int) and found not in marks else None


def _unknown(text: str, count: int) -> str:
    return f"{count} of the tokens of {text[:80]!r} stand for words that the tokenizer does not know"


def count_tokens(tokenizer: Callable[..., Any], text: str) -> int | None:
    """Tokens that a text needs, start and end included; None where the tokenizer does not tell."""
    encode = getattr(tokenizer, "encode", None)
    if encode is not None and hasattr(tokenizer, "sot_token_id"):
        return len(encode(text)) + 2
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return None
    clean = getattr(tokenizer, "clean_fn", None)
    if clean is None and type(tokenizer).__name__ == "SigLipTokenizer":
        from open_clip.tokenizer import basic_clean, canonicalize_text

        text = canonicalize_text(basic_clean(text))
    elif clean is not None:
        text = clean(text)
    if getattr(tokenizer, "tokenizer_mode", "") == "clips":  # start, end and class tokens are added by hand
        return len(inner(text, add_special_tokens=False, truncation=False).input_ids) + 3
    return len(inner(text, truncation=False).input_ids)
