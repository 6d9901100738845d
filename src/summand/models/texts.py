"""The text side of a model: checked, tokenised, encoded in batches, kept on disk, taken apart."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..effects.direct import TextParts
from ..errors import SummandError
from ..towers.text import TextTower, text_features, text_tower_of
from .asked_again import AskedAgain
from .callers_tokenizers import check_ids, token_ids, vocabulary_size
from .guard import Guard, verified
from .made import Made
from .sides import IMAGE_SIDE
from .state import text_state
from .text_cache import TextCache, digests, fingerprint
from .tokens import check_length, pieces, tokenized
from .training_mode import in_training

TEXT_BATCH = 256
"""Texts that are encoded at a time, and from how many on they are kept on disk."""


class TextSide:
    """What `Model` does with texts. clip: the whole model; tokenizer: None where it was wrapped without one."""

    def __init__(self, clip: nn.Module, tokenizer: Callable[..., Any] | None, name: str) -> None:
        self.clip, self.tokenizer, self.name = clip, tokenizer, name
        self._seen: Made[dict[str, Any]] = Made(
            lambda: text_state(clip), lambda state: {"state": state}, f"the text side of {name}"
        )

    @property
    def tower(self) -> TextTower:
        """The text side as a sum, of the model as it is now."""
        made = self._seen.current()
        if "tower" not in made:
            tower = text_tower_of(self.clip)
            tower.guard = Guard(self.clip, self.name, made["state"])
            made["tower"] = tower
        return made["tower"]

    def forget(self) -> None:
        self._seen.forget()

    def checked(self, texts: str | Sequence[str]) -> list[str]:
        """The texts as a list. Raises `SummandError` for none, an empty one, no tokenizer, a model in training mode."""
        if self.tokenizer is None:
            raise SummandError(f"{self.name} was wrapped without a tokenizer; pass tokenizer= to summand.wrap")
        if not isinstance(texts, (str, Iterable)):
            raise SummandError(f"expected a text or a list of texts, got {type(texts).__name__}")
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise SummandError("expected at least one text, got an empty list")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise SummandError(f"a text must be a non-empty string, got {text!r}")
        for name, child in self.clip.named_children():
            if name in IMAGE_SIDE or type(child) in (nn.Linear, nn.LayerNorm):
                continue
            found = in_training(child)
            if found is not None:
                where = ".".join(part for part in (name, found) if part)
                raise SummandError(
                    f"{self.name} is in training mode (at {where}), where dropout changes every pass; "
                    f"call .eval() on it"
                )
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
                tokens = self.tokens(texts[start : start + batch_size])
                found = text_features(self.clip, tokens)
                rows.append(F.normalize(found if found.dtype == torch.float64 else found.float(), dim=-1))
                bar.update(len(tokens))
        return torch.cat(rows)

    def batch(
        self, texts: list[str], batch_size: int = TEXT_BATCH, progress: bool = False, cache: bool = True
    ) -> Float[Tensor, "text embed"]:
        """The same for each different text once, looked up and kept on disk."""
        if not isinstance(batch_size, int) or batch_size < 1:
            raise SummandError(f"batch_size must be at least 1, got {batch_size!r}")
        wanted = list(dict.fromkeys(texts))
        key = self.fingerprint() if cache else None
        if key is None:
            known = dict(zip(wanted, self.encode(wanted, batch_size, progress).cpu().numpy(), strict=True))
        else:
            known = self._through(key, wanted, batch_size, progress)
        device = next(self.clip.parameters()).device
        return torch.from_numpy(np.stack([known[text] for text in texts])).to(device)

    def _through(self, key: str, wanted: list[str], batch_size: int, progress: bool) -> dict[str, np.ndarray]:
        """What the cache holds of these texts, read by the same tokens as now; the others are encoded and kept. Raises
        `SummandError` where the model is no longer that of the key when they are."""
        store, now = TextCache(self.name, key), {}
        for start in range(0, len(wanted), batch_size):
            some = wanted[start : start + batch_size]
            now.update(zip(some, digests(self.tokens(some)), strict=True))
        kept = store.read()
        new = [text for text in wanted if text not in kept or kept[text][0] != now[text]]
        if new:
            rows = self.encode(new, batch_size, progress).cpu().numpy()
            if self.fingerprint() != key:
                raise SummandError(
                    f"the text side of {self.name} was changed while it read these texts (by another thread?), so "
                    f"their embeddings are of no one model; ask again when nothing changes it"
                )
            kept = {**store.read(), **kept}  # another process may have added some meanwhile
            kept.update({text: (now[text], row) for text, row in zip(new, rows, strict=True)})
            store.write(kept)
        return {text: kept[text][1] for text in wanted}

    def parts(self, texts: list[str]) -> TextParts:
        """The texts' embeddings as sums over heads and words."""
        tokens = self.tokens(texts)
        tower = verified(lambda: self.tower, tokens)
        words = [pieces(self.tokenizer, row) for row in tokens.tolist()]
        return TextParts(
            tower,
            tokens,
            tower.encode,
            words,
            asked=AskedAgain(self._seen, lambda: self.tower, tower.guard.state),
        )

    def fingerprint(self) -> str | None:
        """A hash of all that an embedding depends on but its tokens, made once for each state of the model; None where
        there is none, as the user's own functions take part."""
        made = self._seen.current()
        device = next(self.clip.parameters()).device.type
        mixed = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else ""
        context = f"{mixed} {torch.get_float32_matmul_precision()}"
        if context not in made:
            made[context] = fingerprint(self.clip, context)
        return made[context]

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "text token"]:
        assert self.tokenizer is not None
        with torch.device("cpu"):  # whatever the caller's default is
            tokens = token_ids(tokenized(self.tokenizer, texts), len(texts))
            check_ids(texts, tokens, vocabulary_size(self.clip))
            check_length(self.tokenizer, texts, tokens)
        return tokens.to(next(self.clip.parameters()).device)
