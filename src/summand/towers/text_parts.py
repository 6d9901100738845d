"""Where the text towers of open_clip and Hugging Face keep what the sum needs, read by the names they give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import SummandError
from .attention import softmax_of
from .base import working
from .blocks import Block
from .effective import LinearMap, seen_through
from .view import AttentionView

SUPPORTED = (
    *("open_clip's and the clip package's CLIP", "TextTransformer", "CLIPTextModel", "MetaClip2TextModel"),
    *("SiglipTextModel", "Siglip2TextModel"),
)


@dataclass(frozen=True)
class TextParts:
    """Where a text tower keeps what the sum needs. pooled: token ids → the position that is read out.
    root: the module that runs the blocks."""

    kind: str
    root: nn.Module
    blocks: list[TextBlock]
    final_norm: Any
    projection: Callable[[], Tensor]
    projection_bias: Callable[[], Tensor | None]
    pooled: Callable[[Tensor], Tensor]
    batch_first: bool = True
    causal: bool = False
    extra_tokens: int = 0


class TextBlock(Block):
    """A plain pre-norm block of a text tower: one query, at the pooled token, and the mask that the model gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        attention = self.attention.module
        for owner, names in ((attention, ("ln_q", "ln_k", "ln_inner")), (self.module, ("ln_attn",))):
            for name in names:
                if not isinstance(getattr(owner, name, None), (nn.Identity, type(None))):
                    raise SummandError(f"a text tower with {name} in its blocks is not supported")
        for name in ("logit_scale", "head_scale"):
            if getattr(attention, name, None) is not None:
                raise SummandError(f"a text tower with {name} in its attention is not supported")

    def mask(self, length: int, kwargs: dict[str, Any]) -> Tensor | None:
        """What is added to the attention's logits: handed to the block by open_clip, kept in it by OpenAI's code, which
        reads the last rows and columns for shorter texts."""
        own = getattr(self.module, "attn_mask", None)
        return kwargs.get("attn_mask") if not isinstance(own, Tensor) else own[..., -length:, -length:]

    def view(
        self,
        inputs: Float[Tensor, "text token width"],
        query: Float[Tensor, "text width"],
        bias: Float[Tensor, "text one_or_head token"] | None,
    ) -> AttentionView:
        left, right, _ = self.attention.logits(query[:, None], inputs)
        row = softmax_of(left, right, None if bias is None else bias[:, :, None])[:, :, 0]
        return AttentionView(row, inputs, *self.attention.value_map())


def read_open_clip(text: Any) -> TextParts:
    pool = getattr(text, "pool_type", None) or getattr(text, "text_pool_type", "argmax")
    end = getattr(text, "eos_id", getattr(text, "text_eos_id", None))
    class_token = getattr(text, "cls_emb", None) is not None
    if class_token:  # CoCa puts it last and pools there, whatever pool_type says
        pool = "last"
    where: dict[str, Callable[[Tensor], Tensor]] = {
        "first": lambda tokens: torch.zeros_like(tokens[:, 0]),
        "last": lambda tokens: torch.full_like(tokens[:, 0], tokens.shape[1] - 1 + class_token),
        "argmax": lambda tokens: tokens.argmax(dim=-1),
        "eos": lambda tokens: (tokens == end).int().argmax(dim=-1),
    }
    if pool not in where:
        raise SummandError(f"a text tower with pool_type={pool!r} is not supported (only {', '.join(where)})")

    projected, final_norm = getattr(text, "text_projection", None), seen_through(text.ln_final)
    linear = LinearMap(projected, "its text projection") if isinstance(projected, nn.Module) else None

    def projection() -> Tensor:
        if linear is not None:
            return linear.weight.T
        if text.text_projection is None:
            return torch.eye(len(final_norm.weight), device=final_norm.weight.device).to(working(final_norm.weight))
        return text.text_projection

    return TextParts(
        kind="TextTransformer",
        root=text.transformer,
        blocks=[TextBlock(block) for block in text.transformer.resblocks],
        final_norm=final_norm,
        projection=projection,
        projection_bias=lambda: None if linear is None else linear.bias,
        pooled=where[pool],
        batch_first=getattr(text.transformer, "batch_first", False),
        extra_tokens=int(class_token),
    )


def read_hugging_face(clip: Any, text: Any) -> TextParts:
    # Until version 4 the text model of CLIPTextModelWithProjection and SiglipTextModel is one level further in.
    text = getattr(text, "text_model", text)
    name = type(text).__name__
    if post_norm(text):
        raise SummandError(
            f"the text tower {name} of {type(clip).__name__} cannot be taken apart: it is a BERT, which normalises the "
            f"sum behind every block, so that what early blocks write has no fixed way to the output; encode_text "
            f"works ({', '.join(SUPPORTED)} can be taken apart)"
        )
    siglip = hasattr(text, "head")
    linear = text.head if siglip else getattr(clip, "text_projection", None)
    if not hasattr(text, "final_layer_norm") or linear is None:
        raise SummandError(f"the text tower {name} cannot be taken apart ({', '.join(SUPPORTED)} can)")
    end = getattr(text, "eos_token_id", None)
    # transformers' CLIP keeps the old rule (the largest id) for configurations with the wrong end token 2; MetaCLIP 2,
    # whose end token 2 is, does not.
    largest = end == 2 and not any(ancestor.__name__.startswith("MetaClip2") for ancestor in type(text).__mro__)
    projection = LinearMap(linear, "its text projection")

    def pooled(tokens: Tensor) -> Tensor:
        if siglip:
            return torch.full_like(tokens[:, 0], tokens.shape[1] - 1)
        return tokens.argmax(dim=-1) if largest else (tokens == end).int().argmax(dim=-1)

    return TextParts(
        kind=name,
        root=text.encoder,
        blocks=[TextBlock(layer) for layer in text.encoder.layers],
        final_norm=seen_through(text.final_layer_norm),
        projection=lambda: projection.weight.T,
        projection_bias=lambda: projection.bias,
        pooled=pooled,
        causal=not siglip,
    )


def post_norm(text: Any) -> bool:
    """Whether a text tower of transformers is a BERT (Chinese CLIP) or a RoBERTa (AltCLIP)."""
    return hasattr(getattr(text, "roberta", text), "embeddings") and hasattr(
        getattr(text, "roberta", text).embeddings, "word_embeddings"
    )


def reads_padding(clip: Any, tokens: Int[Tensor, "text token"]) -> dict[str, Tensor]:
    """The attention mask that a BERT needs beside its tokens, as every token of it sees the padding too. CLIP's end
    token sees nothing behind it, and SigLIP was trained to read its padding."""
    text = getattr(clip, "text_model", None)
    if text is None or not post_norm(text):
        return {}
    return {"attention_mask": (tokens != text.config.pad_token_id).long()}
