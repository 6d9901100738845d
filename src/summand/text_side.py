"""The text side of a model: checked, tokenised, encoded in batches, kept on disk, taken apart."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .callers_tokenizers import check_ids, token_ids, vocabulary_size
from .decomposition import TextParts
from .errors import SummandError
from .text_cache import TextCache, fingerprint, state_version
from .tokenizing import check_length, pieces, tokenized
from .towers.text import TextTower, text_features, text_tower_of

TEXT_BATCH = 256
"""Texts that are encoded at a time, and from how many on they are kept on disk."""


class TextSide:
    """What `Model` does with texts. clip: the whole model; tokenizer: None where it was wrapped without one."""

    def __init__(self, clip: nn.Module, tokenizer: Callable[..., Any] | None, name: str) -> None:
        self.clip, self.tokenizer, self.name = clip, tokenizer, name
        self._tower: TextTower | None = None
        self._fingerprint: tuple[Any, str] | None = None

    @property
    def tower(self) -> TextTower:
        if self._tower is None:
            self._tower = text_tower_of(self.clip)
        return self._tower

    def checked(self, texts: str | Sequence[str]) -> list[str]:
        """The texts as a list. Raises `SummandError` for none, an empty one, no tokenizer, a model in training mode."""
        if self.tokenizer is None:
            raise SummandError(f"{self.name} was wrapped without a tokenizer; pass tokenizer= to summand.wrap")
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise SummandError("expected at least one text, got an empty list")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise SummandError(f"a text must be a non-empty string, got {text!r}")
        if any(
            module.training for name, module in self.clip.named_children() if name not in ("visual", "vision_model")
        ):
            raise SummandError(f"{self.name} is in training mode, where dropout changes every pass; call .eval() on it")
        return texts

    @torch.no_grad()
    def encode(
        self, texts: list[str], batch_size: int = TEXT_BATCH, progress: bool = False
    ) -> Float[Tensor, "text embed"]:
        """Unit-norm embeddings, fp32 or better."""
        rows = []
        with tqdm(
            total=len(texts), desc="texts", unit="text", file=sys.stderr, disable=not progress, leave=False
        ) as bar:
            for start in range(0, len(texts), batch_size):
                tokens = self._tokens(texts[start : start + batch_size])
                found = text_features(self.clip, tokens)
                rows.append(F.normalize(found if found.dtype == torch.float64 else found.float(), dim=-1))
                bar.update(len(tokens))
        return torch.cat(rows)

    def batch(
        self, texts: list[str], batch_size: int = TEXT_BATCH, progress: bool = False, cache: bool = True
    ) -> Float[Tensor, "text embed"]:
        """The same for each different text once, looked up and kept on disk."""
        if batch_size < 1:
            raise SummandError(f"batch_size must be at least 1, got {batch_size}")
        wanted = list(dict.fromkeys(texts))
        store = TextCache(self.name, self.fingerprint()) if cache else None
        known = store.read() if store is not None else {}
        new = [text for text in wanted if text not in known]
        if new:
            rows = self.encode(new, batch_size, progress).cpu().numpy()
            if store is not None:
                known = {**store.read(), **known}  # another process may have added some meanwhile
            known.update(zip(new, rows, strict=True))
            if store is not None:
                store.write(known)
        device = next(self.clip.parameters()).device
        return torch.from_numpy(np.stack([known[text] for text in texts])).to(device)

    def parts(self, texts: list[str]) -> TextParts:
        """The texts' embeddings as sums over heads and words."""
        tokens = self._tokens(texts)
        words = [pieces(self.tokenizer, row) for row in tokens.tolist()]
        return TextParts(self.tower, tokens, self.tower.encode, words)

    def fingerprint(self) -> str:
        """A hash of the text tower's weights and of the tokenizer; made anew only when a weight has changed."""
        assert self.tokenizer is not None
        version = state_version(self.clip)
        if self._fingerprint is None or self._fingerprint[0] != version:
            self._fingerprint = (version, fingerprint(self.clip, self.tokenizer))
        return self._fingerprint[1]

    def _tokens(self, texts: Sequence[str]) -> Int[Tensor, "text token"]:
        assert self.tokenizer is not None
        tokens = token_ids(tokenized(self.tokenizer, texts), len(texts))
        check_ids(texts, tokens, vocabulary_size(self.clip))
        check_length(self.tokenizer, texts, tokens)
        return tokens.to(next(self.clip.parameters()).device)
