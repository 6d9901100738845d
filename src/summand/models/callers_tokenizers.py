"""Tokenizers as callers hold them: of the tokenizers package, or inside of a partial, a lambda or an object."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SummandError

_DEPTH = 4
_NO_HOLDERS = (type, ModuleType, Tensor, nn.Module, str, bytes)
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|endoftext|>", "</s>")
_STARTS = ("<s>", "[CLS]", "<|startoftext|>", "<bos>", "<start_of_text>")
UNKNOWN = ("<unk>", "[UNK]", "<UNK>", "<|unk|>")
"""What tokenizers put for a word that they do not know."""
_ENDS = ("</s>", "[SEP]", "<|endoftext|>", "<eos>", "<end_of_text>")
_TOKEN_TABLES = ("token_embedding", "word_embeddings", "token_embeddings", "embed_tokens", "wte", "shared")


class RawTokenizer:
    """texts → token ids, int64 [text, context_length], by a `tokenizers.Tokenizer`; with transformers' names for what
    reads tokens back."""

    def __init__(self, raw: Any, context_length: int) -> None:
        self.raw, self.context_length = raw, context_length
        self.pad_token_id = (raw.padding or {}).get("pad_id", self._first(_PADS))
        self.bos_token_id = self.cls_token_id = self._first(_STARTS)
        self.eos_token_id = self.sep_token_id = self._first(_ENDS)
        self.unk_token_id = self._first(UNKNOWN)

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = []
        for text, found in zip(texts, self.raw.encode_batch(texts), strict=True):
            needed = sum(found.attention_mask) + sum(sum(cut.attention_mask) for cut in found.overflowing)
            if needed > self.context_length or found.overflowing:
                shown = text if len(text) <= 80 else f"{text[:77]}..."
                raise SummandError(
                    f"a text needs {needed} tokens, the model reads {self.context_length}; shorten it: {shown!r}"
                )
            ids = found.ids[: self.context_length]
            rows.append(ids + [self.pad_token_id or 0] * (self.context_length - len(ids)))
        return torch.tensor(rows)

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        return [self.raw.id_to_token(i) or str(i) for i in ids]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        return self.raw.decode([self.raw.token_to_id(token) for token in tokens], skip_special_tokens=False)

    def _first(self, names: tuple[str, ...]) -> int | None:
        return next((i for i in map(self.raw.token_to_id, names) if i is not None), None)


def is_raw(tokenizer: Any) -> bool:
    """Whether it is a `tokenizers.Tokenizer`."""
    return all(callable(getattr(tokenizer, name, None)) for name in ("encode_batch", "id_to_token", "token_to_id"))


def core_of(tokenizer: Any) -> Any:
    """The one tokenizer that can say what its tokens are, inside of what the caller gives; else that itself.

    Looked into are partials, bound methods, wrapping objects, and what a function refers to.
    """
    found: list[Any] = []
    _search(tokenizer, found, [], _DEPTH)
    return found[0] if len(found) == 1 else tokenizer


def _search(item: Any, found: list[Any], seen: list[Any], depth: int) -> None:
    if any(item is one for one in seen) or isinstance(item, _NO_HOLDERS):
        return
    seen.append(item)
    if hasattr(item, "convert_ids_to_tokens") or is_raw(item) or hasattr(item, "byte_decoder"):
        found.append(item)
    elif depth:
        for inside in _inside(item):
            _search(inside, found, seen, depth - 1)


def _inside(item: Any) -> list[Any]:
    if isinstance(item, FunctionType):
        try:
            refers = inspect.getclosurevars(item)
        except ValueError:  # a variable that has no value yet
            return []
        held = [*refers.nonlocals.values(), *refers.globals.values(), *(item.__defaults__ or ())]
        of_modules = [vars(one).get(name) for one in held if isinstance(one, ModuleType) for name in refers.unbound]
        return [*held, *of_modules]
    if isinstance(item, MethodType):
        return [item.__self__, item.__func__]
    if hasattr(item, "func"):  # a partial
        return [item.func, *getattr(item, "args", ()), *getattr(item, "keywords", {}).values()]
    own = [*getattr(item, "__dict__", {}).values(), getattr(item, "tokenizer", None)]
    call = vars(type(item)).get("__call__")
    return [*own, *([call] if isinstance(call, FunctionType) else [])]


def token_ids(found: Any, count: int) -> Tensor:
    """What a tokenizer returned as ids [text, token]. Raises `SummandError` for anything that is not that."""
    ids: Any = found["input_ids"] if isinstance(found, Mapping) and "input_ids" in found else found
    if isinstance(ids, (list, tuple, np.ndarray)):
        try:
            ids = torch.as_tensor(np.asarray(ids))
        except (ValueError, TypeError):
            raise SummandError(
                "a tokenizer must return rows of one length, but its rows differ; let it pad them"
            ) from None
    whole = isinstance(ids, Tensor) and not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    if not whole or ids.ndim != 2 or len(ids) != count:
        got = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise SummandError(f"a tokenizer must return token ids [{count}, token], got {got}")
    return ids


def vocabulary_size(clip: nn.Module) -> int | None:
    """How many different tokens a text tower reads; None where its table of tokens is not found."""
    level, seen = [clip], {id(clip)}
    while level:  # by depth, for it stands near the top
        children = [item for module in level for item in module.named_children() if id(item[1]) not in seen]
        for name, module in children:
            if isinstance(module, nn.Embedding) and name in _TOKEN_TABLES:
                return module.num_embeddings
        level = [module for _, module in children]
        seen |= set(map(id, level))
    return None


def check_ids(texts: Sequence[str], tokens: Tensor, size: int | None) -> None:
    """Raise `SummandError` that names the text and the token where a tokenizer is not the model's."""
    if size is None or not tokens.numel():
        return
    outside = (tokens < 0) | (tokens >= size)
    if outside.any():
        row, place = outside.nonzero()[0].tolist()
        shown = texts[row] if len(texts[row]) <= 80 else f"{texts[row][:77]}..."
        raise SummandError(
            f"the tokenizer gives token {int(tokens[row, place])} for {shown!r}, and the model reads {size:,} "
            f"different tokens (0 to {size - 1}): it is another model's. Give the model's own: tokenizer.json beside "
            f"its weights, or wrap(model, tokenizer=…)"
        )


def context_length(clip: nn.Module) -> int | None:
    """How many tokens of a text the model reads; None where it does not say."""
    configured = getattr(getattr(getattr(clip, "config", None), "text_config", None), "max_position_embeddings", None)
    found = getattr(getattr(clip, "text", clip), "context_length", None) or configured
    return found if isinstance(found, int) else None


@contextmanager
def as_long_as_the_context(clip: nn.Module, tokens: Tensor) -> Iterator[None]:
    """Where the model fails at rows of another length than its context, a `SummandError` that says so: some models read
    shorter rows, none longer ones."""
    asked = context_length(clip)
    try:
        yield
    except (RuntimeError, IndexError, ValueError) as error:
        if asked is None or tokens.shape[1] == asked:
            raise
        raise SummandError(
            f"the tokenizer gives {tokens.shape[1]} tokens a text, and the model reads {asked}: it is another model's. "
            f"Give the model's own, or make it with a context of {asked}: wrap(model, tokenizer=…)"
        ) from error
