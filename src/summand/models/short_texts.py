"""Texts without the padding behind the token that is read out, where that token cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import SummandError
from ..towers.text import text_features
from ..towers.text_parts import TextParts, read_hugging_face, read_open_clip
from .global_hooks import global_hooks
from .sides import of_texts
from .text_cache import is_known

_EXACT = 1e-5
_LIBRARIES = ("torch", "open_clip", "transformers")


@dataclass(frozen=True)
class ShortTexts:
    """E(t₁ … t_n) = E(t₁ … t_p) for the token p that is read out, as a causal mask hides t_j, j > p, from t_i, i ≤ p.

    ends: token ids → p of every text. encode: ids of texts that are cut behind their p → embeddings, not normalised.
    """

    ends: Callable[[Int[Tensor, "text token"]], Int[Tensor, " text"]]
    encode: Callable[[Int[Tensor, "text token"]], Float[Tensor, "text embed"]]

    @torch.no_grad()
    def agrees(self, clip: nn.Module, tokens: Int[Tensor, "text token"]) -> bool:
        """Whether the model's own embeddings of the shortest and of the longest of these texts are the same."""
        ends = self.ends(tokens)
        for place in (int(ends.argmin()), int(ends.argmax())):
            row = tokens[place : place + 1]
            own, found = text_features(clip, row), self.encode(row[:, : int(ends[place]) + 1])
            if own.shape != found.shape or not bool((own - found).norm() <= _EXACT * own.norm()):
                return False
        return True


def short_texts(clip: Any) -> ShortTexts | None:
    """How a model's texts are encoded without their padding; None where a token sees those behind it (SigLIP), where
    the last token is read out (CoCa), in half precision, and where any module of the text side is not of torch,
    open_clip or transformers themselves, or has a hook: an adapter, or a function of the user's, may count tokens."""
    known = all(
        type(module).__module__.partition(".")[0] in _LIBRARIES and "forward" not in vars(module)
        for name, module in [("text", clip), *clip.named_modules()]
        if of_texts(name)
    )
    whole = all(value.dtype in (torch.float32, torch.float64) for _, value in clip.named_parameters())
    if not known or not whole or not is_known(clip) or global_hooks():
        return None
    try:
        if hasattr(clip, "text_model"):
            return _of_hugging_face(clip)
        text = getattr(clip, "text", clip)
        return _of_open_clip(text) if type(clip).__module__.startswith("open_clip.") and _causal(text) else None
    except (SummandError, AttributeError):  # a tower that cannot be taken apart
        return None


def _of_hugging_face(clip: Any) -> ShortTexts | None:
    parts = read_hugging_face(clip, clip.text_model)
    return ShortTexts(parts.pooled, lambda tokens: text_features(clip, tokens)) if parts.causal else None


def _of_open_clip(text: Any) -> ShortTexts:
    """encode_text of open_clip, whose own takes texts as long as the context alone."""
    parts: TextParts = read_open_clip(text)

    def encode(tokens: Tensor) -> Tensor:
        length, kind = tokens.shape[1], text.transformer.get_cast_dtype()
        stream = text.token_embedding(tokens).to(kind) + text.positional_embedding[:length].to(kind)
        stream = text.transformer(stream, attn_mask=text.attn_mask[:length, :length])
        read = text.ln_final(stream[torch.arange(len(tokens), device=tokens.device), parts.pooled(tokens)])
        projection = text.text_projection
        if projection is None:
            return read
        return projection(read) if isinstance(projection, nn.Module) else read @ projection

    return ShortTexts(parts.pooled, encode)


def _causal(text: Any) -> bool:
    """Whether no token sees those behind it, and one of the text's own tokens is read out."""
    pool = getattr(text, "pool_type", None) or getattr(text, "text_pool_type", None)
    mask = getattr(text, "attn_mask", None)
    if pool not in ("argmax", "eos") or getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", 0):
        return False
    count = len(text.positional_embedding)
    if not isinstance(mask, Tensor) or mask.dtype == torch.bool or mask.shape != (count, count):
        return False
    later = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool((mask[later] == float("-inf")).all())
