"""What a tokenizer made of a text: how many tokens it needs, and which piece of the text each token is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, cast

from torch import Tensor

from ..errors import SummandError, first_line
from ..towers.pieces import END, PAD, SPECIAL, START, Piece
from .callers_tokenizers import RawTokenizer, core_of, is_raw


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

    def look(start: int, stop: int) -> None:
        some = list(texts[start:stop])
        try:
            tokens = tokenizer(some)
            if isinstance(tokens, Tensor) and tokens.ndim == 2:
                check_length(tokenizer, some, tokens)
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


def pieces(tokenizer: Callable[..., Any] | None, row: Sequence[int]) -> list[Piece]:
    """The tokens of one text as pieces of text; `<start>`, `<end>` and `<pad>` for tokens that are no text."""
    describe = getattr(tokenizer, "pieces_of", None)
    if callable(describe):  # it says so itself
        return list(cast("Any", describe)(row))
    if hasattr(tokenizer, "byte_decoder") and hasattr(tokenizer, "eot_token_id"):
        return _byte_pairs(tokenizer, row)
    if _of_clip_package(tokenizer):
        return _byte_pairs(_byte_pair_vocabulary(), row)
    inner = core_of(tokenizer)
    if hasattr(inner, "byte_decoder"):
        return _byte_pairs(inner, row)
    if is_raw(inner):
        inner = RawTokenizer(inner, len(row))
    if hasattr(inner, "convert_ids_to_tokens"):
        return _hugging_face(inner, row)
    return [Piece(_decoded(tokenizer, i)) for i in row]


def _decoded(tokenizer: Any, i: int) -> str:
    """What a tokenizer of the caller's own says that a token is, where it says so; else its number."""
    try:
        text = tokenizer.decode([i])
    except (AttributeError, TypeError, ValueError, KeyError, IndexError):
        return str(i)
    return text if isinstance(text, str) and text else str(i)


def _of_clip_package(tokenizer: Any) -> bool:
    """Whether it is OpenAI's `clip.tokenize`, or that with some arguments given."""
    function = getattr(tokenizer, "func", tokenizer)
    return getattr(function, "__name__", "") == "tokenize" and str(getattr(function, "__module__", "")).startswith(
        "clip."
    )


@cache
def _byte_pair_vocabulary() -> Any:
    """The vocabulary that OpenAI's code and open_clip share."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()


def _byte_pairs(tokenizer: Any, row: Sequence[int]) -> list[Piece]:
    found, opens, over = [], True, False
    start = getattr(tokenizer, "sot_token_id", None)
    end = getattr(tokenizer, "eot_token_id", None)
    if end is None:  # as the clip package names them
        start, end = (tokenizer.encoder.get(name) for name in ("<|startoftext|>", "<|endoftext|>"))
    for i in row:
        if over:
            found.append(Piece(PAD))
        elif i == start:
            found.append(Piece(START))
        elif i == end:
            found.append(Piece(END))
            over = True
        else:
            coded = tokenizer.decoder[i]
            closes = coded.endswith("</w>")
            coded = coded.removesuffix("</w>")
            text = bytearray(tokenizer.byte_decoder[c] for c in coded).decode("utf-8", errors="replace")
            found.append(Piece(text, opens))
            opens = closes
    return found


def _hugging_face(inner: Any, row: Sequence[int]) -> list[Piece]:
    ends = {i for i in (inner.eos_token_id, inner.sep_token_id) if i is not None}
    starts = {i for i in (inner.bos_token_id, inner.cls_token_id) if i is not None}
    tokens = inner.convert_ids_to_tokens(list(row))
    closing = any(token.endswith("</w>") for token in tokens)  # CLIP marks the end of a word,
    opening = any(token[:1] in ("▁", "Ġ") for token in tokens)  # sentencepiece and GPT-2 its beginning,
    found, opens, over = [], True, False  # and BERT (##) what goes on
    for i, token in zip(row, tokens, strict=True):
        if i in ends and not over:
            found.append(Piece(END))
            over = True
        elif over or i == inner.pad_token_id:  # CLIP's tokenizers pad with the end token
            found.append(Piece(PAD))
        elif i in starts:
            found.append(Piece(START))
        else:
            plain = token.removesuffix("</w>").removeprefix("##").lstrip("▁Ġ")
            read = getattr(inner, "convert_tokens_to_string", None)  # byte-level tokens are no readable text
            text = read([token]).strip() if read is not None and not token.startswith("##") else plain
            found.append(
                Piece(text, opens if closing else token[:1] in ("▁", "Ġ") if opening else not token.startswith("##"))
            )
            opens = token.endswith("</w>")
    return found


def whole_words(row: Sequence[Piece]) -> list[tuple[str, list[int]]]:
    """Words of a text, each with the positions of its tokens; all padding together comes last."""
    words: list[tuple[str, list[int]]] = []
    padding = [i for i, piece in enumerate(row) if piece.text == PAD]
    for i, piece in enumerate(row):
        if piece.text == PAD:
            continue
        if piece.opens or not words or words[-1][0] in SPECIAL:
            words.append((piece.text, [i]))
        else:
            words[-1] = (words[-1][0] + piece.text, [*words[-1][1], i])
    return [*words, (PAD, padding)] if padding else words
