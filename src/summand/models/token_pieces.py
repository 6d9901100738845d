"""Which piece of a text each token is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

from ..towers.pieces import END, PAD, SPECIAL, START, Piece
from .callers_tokenizers import RawTokenizer, core_of, is_raw


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
