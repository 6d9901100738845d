"""The text side of a model: checked, tokenised, encoded in batches, kept on disk, taken apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..effects.text_parts import TextParts
from ..errors import SummandError
from ..progress import Progress
from ..towers.text import TextTower, text_features, text_tower_of
from .asked_again import AskedAgain
from .callers_tokenizers import as_long_as_the_context, check_ids, context_length, token_ids, vocabulary_size
from .guard import Guard, verified
from .made import Made
from .short_texts import ShortTexts, short_texts
from .side_states import text_state
from .sides import IMAGE_SIDE
from .state import State
from .text_cache import digests, fingerprint, is_known
from .text_store import Memory, Row, TextStore
from .token_pieces import pieces
from .tokens import check_length, tokenized
from .training_mode import in_training

TEXT_BATCH = 256
"""Texts that are encoded at a time."""

_PROBES = 8  # texts of a list that is found in memory, to see that the tokenizer reads them as it did
_SORTED = 8192  # texts that are put in the order of their length at a time
_WORTH_A_HASH = 16  # texts: of a model that is being trained, a few are encoded sooner than its weights are hashed


class TextSide:
    """What `Model` does with texts. clip: the whole model; tokenizer: None where it was wrapped without one."""

    def __init__(self, clip: nn.Module, tokenizer: Callable[..., Any] | None, name: str) -> None:
        self.clip, self.tokenizer, self.name = clip, tokenizer, name
        self._states = 0
        self._seen: Made[dict[Any, Any]] = Made(lambda: text_state(clip), self._new_state, f"the text side of {name}")

    def _new_state(self, state: State) -> dict[Any, Any]:
        """What is made of the text side in one state."""
        self._states += 1
        return {"state": state}

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
        self, texts: list[str], batch_size: int = TEXT_BATCH, progress: bool | None = False
    ) -> Float[Tensor, "text embed"]:
        """Unit-norm embeddings, fp32 or better."""
        rows = []
        with Progress("texts", len(texts), "texts", progress) as bar:
            for start in range(0, len(texts), _SORTED):
                rows.append(self._encode(texts[start : start + _SORTED], batch_size, bar.update))
        found = torch.cat(rows)
        return F.normalize(found if found.dtype == torch.float64 else found.float(), dim=-1)

    def _encode(self, texts: list[str], batch_size: int, done: Callable[[int], object]) -> Tensor:
        """Embeddings as the model gives them; of many texts the padding that says nothing is left out."""
        batches = [self.tokens(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
        short = self._short(batches) if len(texts) > TEXT_BATCH else None
        order = None
        if short is not None:
            tokens = torch.cat(batches)
            ends = short.ends(tokens)
            order = ends.argsort()
            batches = [tokens[some, : int(ends[some].amax()) + 1] for some in order.split(batch_size)]
        rows = []
        for tokens in batches:
            with as_long_as_the_context(self.clip, tokens):
                rows.append(text_features(self.clip, tokens) if short is None else short.encode(tokens))
            done(len(tokens))
        found = torch.cat(rows)
        return found if order is None else found[order.argsort()]

    def _short(self, batches: list[Tensor]) -> ShortTexts | None:
        """How to leave the padding out, where these texts are as they would be with it; looked at once a state."""
        whole = {context_length(self.clip)} == {tokens.shape[1] for tokens in batches}
        if not whole or torch.is_autocast_enabled(batches[0].device.type):
            return None
        made = self._seen.current()
        if "short" not in made:
            found = short_texts(self.clip)
            made["short"] = found if found is not None and found.agrees(self.clip, torch.cat(batches)) else None
        return made["short"]

    def kept(
        self,
        texts: list[str],
        *,
        batch_size: int = TEXT_BATCH,
        progress: bool | None = False,
        disk: bool | None = None,
    ) -> Float[Tensor, "text embed"]:
        """`encode`, each different text once; those that this state of the model has read before are remembered.

        disk: whether they are kept on disk as well; None: where that is worth a hash of the weights.
        """
        check_batch_size(batch_size)
        wanted = list(dict.fromkeys(texts))
        memory = self._memory()
        known = {} if memory is None else self._remembered(memory, wanted)
        new = [text for text in wanted if text not in known]
        if new:
            state, _ = self._seen.seen()
            rows = self._read(new, batch_size, progress, disk)
            if memory is not None and self._seen.holds(state):
                memory.put(rows)
            known.update(rows)
        device = next(self.clip.parameters()).device
        return torch.from_numpy(np.stack([known[text][1] for text in texts])).to(device)

    def without_memory(self, texts: list[str], batch_size: int, progress: bool | None) -> Float[Tensor, "text embed"]:
        """`encode`, each different text once."""
        check_batch_size(batch_size)
        wanted = list(dict.fromkeys(texts))
        rows = dict(zip(wanted, self.encode(wanted, batch_size, progress), strict=True))
        return torch.stack([rows[text] for text in texts])

    def _memory(self) -> Memory | None:
        """What is remembered of this state and precision; None where the user's own functions take part, whose changes
        nothing can see."""
        made = self._seen.current()
        key = "memory", self._precision()
        if key not in made:
            made[key] = Memory() if is_known(self.clip) else None
        return made[key]

    def _remembered(self, memory: Memory, wanted: list[str]) -> dict[str, tuple[bytes, Row]]:
        """What is remembered of these texts; nothing where the tokenizer reads some of them in another way now."""
        known = memory.get(wanted)
        probes = list(known)[:: max(1, len(known) // _PROBES)]
        if probes and digests(self.tokens(probes)) != [known[text][0] for text in probes]:
            memory.clear()
            return {}
        return known

    def _read(
        self, new: list[str], batch_size: int, progress: bool | None, disk: bool | None
    ) -> dict[str, tuple[bytes, Row]]:
        """The texts' embeddings with the digests of their tokens: from disk where it has them, else encoded."""
        now: list[bytes] = []
        for start in range(0, len(new), batch_size):
            now += digests(self.tokens(new[start : start + batch_size]))
        if disk is None:
            disk = self._states == 1 or len(new) >= _WORTH_A_HASH
        key = self.fingerprint() if disk else None
        store = None if key is None else TextStore(self.name, key)
        found = {} if store is None else store.read(now)
        missing = [(text, digest) for text, digest in zip(new, now, strict=True) if digest not in found]
        if missing:
            state, _ = self._seen.seen()
            rows = self.encode([text for text, _ in missing], batch_size, progress).cpu().numpy()
            made = {digest: row for (_, digest), row in zip(missing, rows, strict=True)}
            if store is not None and self._seen.holds(state):
                store.add(made)
            found.update(made)
        return {text: (digest, found[digest]) for text, digest in zip(new, now, strict=True)}

    def parts(self, texts: list[str]) -> TextParts:
        """The texts' embeddings as sums over heads and words."""
        tokens = self.tokens(texts)
        with as_long_as_the_context(self.clip, tokens):
            tower = verified(lambda: self.tower, tokens, self._seen.forget)
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
        context = self._precision()
        if context not in made:
            made[context] = fingerprint(self.clip, context)
        return made[context]

    def _precision(self) -> str:
        device = next(self.clip.parameters()).device.type
        mixed = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else ""
        return f"{mixed} {torch.get_float32_matmul_precision()}"

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "text token"]:
        assert self.tokenizer is not None
        with torch.device("cpu"):  # whatever the caller's default is
            tokens = token_ids(tokenized(self.tokenizer, texts), len(texts))
            check_ids(texts, tokens, vocabulary_size(self.clip))
            check_length(self.tokenizer, texts, tokens)
        return tokens.to(next(self.clip.parameters()).device)


def check_batch_size(batch_size: Any) -> None:
    if not isinstance(batch_size, int) or batch_size < 1:
        raise SummandError(f"batch_size must be at least 1, got {batch_size!r}")
