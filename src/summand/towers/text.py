"""Text towers of open_clip and Hugging Face as a sum over layers, heads and words, read out at one token."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import SummandError
from .base import HeadMaps, Rest, Trace, working
from .dispatch import called, check_call
from .guarded import Guarded
from .hf import embedding_of, run_own
from .linear import fold_norm, inverse_deviation
from .listening import Listener, _Enough, listening, one_pass
from .precision import unmixed
from .text_parts import SUPPORTED, TextBlock, TextParts, read_hugging_face, read_open_clip, reads_padding
from .view import Visit
from .widened import Widened


def text_features(clip: Any, tokens: Int[Tensor, "text token"]) -> Float[Tensor, "text embed"]:
    """The wrapped model's own text embeddings, not normalised."""
    if hasattr(clip, "get_text_features"):  # Hugging Face
        return embedding_of(run_own(clip, clip.get_text_features, input_ids=tokens, **reads_padding(clip, tokens)))
    if not hasattr(clip, "encode_text"):
        raise SummandError(_no_text(clip))
    check_call(clip.encode_text, f"{type(clip).__name__}.encode_text", "token ids")
    found = called(clip.encode_text, tokens)
    if not isinstance(found, Tensor) or found.ndim != 2:
        got = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise SummandError(
            f"{type(clip).__name__}.encode_text must return one embedding for each text, [text, embed]; it returned "
            f"{got}"
        )
    return found


class TextTower(Guarded):
    r"""E(t) = Fᵀ(z⁰ + Σ_l (Σ_h W_O^{l,h} Σ_i a_i^{l,h} v_i^{l,h} + b_O^l + MLP^l)) / σ + β P + b_P at the pooled token.

    The model's own forward runs, watched by hooks, up to the last block; of that one only the pooled token is
    computed. The attention mask is the one that the model gives to its blocks, so that words which the pooled token
    cannot see (and padding behind a causal mask) contribute exactly nothing.
    """

    terms: tuple[str, ...] = ("embedding", "heads", "mlps", "bias")
    image_size = grid = (0, 0)
    prefix = 0

    def __init__(self, clip: nn.Module, parts: TextParts) -> None:
        self.clip = self.visual = clip
        self._parts, self._wide = parts, Widened()
        self._blocks = parts.blocks
        self.kind, self.extra_tokens = parts.kind, parts.extra_tokens
        self.layers = len(self._blocks)
        self.heads, self.channels = self._blocks[0].attention.heads, self._blocks[0].attention.channels
        self.embed = parts.projection().shape[1]

    @property
    def blocks(self) -> list[TextBlock]:
        return self._blocks

    def batch_first(self, tokens: Tensor) -> Tensor:
        return tokens if self._parts.batch_first else tokens.transpose(0, 1)

    @torch.no_grad()
    def encode(self, tokens: Int[Tensor, "text token"]) -> Float[Tensor, "text embed"]:
        return text_features(self.clip, tokens)

    @property
    def dtype(self) -> torch.dtype:
        """What its linear maps are kept in."""
        return self._blocks[0].attention.out.weight.dtype

    def _folded(self) -> Float[Tensor, "width embed"]:
        norm = self._parts.final_norm
        return fold_norm(norm, self._projection(), self._wide.of("gain", norm.weight))

    def _projection(self) -> Tensor:
        return self._wide("projection", self._parts.projection())

    @torch.no_grad()
    def head_maps(self) -> HeadMaps:
        folded = self._folded()
        return HeadMaps(torch.stack([block.directions(folded) for block in self._blocks]))

    @torch.no_grad()
    def run(self, tokens: Int[Tensor, "text token"], visit: Visit | None = None) -> Trace:
        self.verify("sum", tokens)
        with one_pass():
            trace = self._run(tokens, visit)
        self.confirm(trace, tokens)
        return trace

    def _run(self, tokens: Int[Tensor, "text token"], visit: Visit | None) -> Trace:
        pooled = self._parts.pooled(tokens)
        each = torch.arange(len(tokens), device=tokens.device)
        values: list[Tensor] = []
        stream: list[Tensor] = []  # the pooled token before each block and between its attention and its MLP
        mlps: list[Tensor] = []
        entering: list[Tensor] = []
        masks: list[Tensor | None] = []

        batch_first = self.batch_first

        def here(x: Tensor) -> Tensor:
            return working(batch_first(x)[each, pooled])

        def look(layer: int, normed: Tensor) -> None:
            normed = working(normed)
            view = self._blocks[layer].view(normed, normed[each, pooled], self._bias(masks[layer], normed, pooled))
            if visit is not None:
                visit(layer, view)
            values.append(view.values())

        def before_block(layer: int, x: Tensor, kwargs: dict[str, Any]) -> None:
            masks.append(self._blocks[layer].mask(x.shape[1 if self._parts.batch_first else 0], kwargs))
            if layer:
                mlps.append(here(x) - stream[-1])
            stream.append(here(x))
            if layer == self.layers - 1:
                entering.append(x)
                raise _Enough

        def listeners() -> Iterator[Listener]:
            for layer, block in enumerate(self._blocks):
                yield block.module, "before", partial(before_block, layer)
                yield block.before, "after", lambda out, layer=layer: look(layer, batch_first(out))
                yield block.before_mlp, "before", lambda x, _: stream.append(here(x))

        with listening(listeners(), self._parts.root):
            self.encode(tokens)
        if not entering:
            raise SummandError("the forward pass never reached the last block; is the model wrapped or compiled?")
        last = self._blocks[-1]
        inputs = batch_first(last.attention_input(entering[0]))
        with unmixed(tokens.device):
            look(self.layers - 1, inputs)
        with unmixed(tokens.device):
            middle = stream[-1] + last.write(last.attention.outputs(values[-1]))
        mlps.append(last.mlp(middle[:, None].to(entering[0].dtype))[:, 0])
        with unmixed(tokens.device):
            return self._trace(torch.stack(values, dim=1), stream[0], torch.stack(mlps, dim=1), middle + mlps[-1])

    def _trace(self, values: Tensor, start: Tensor, mlps: Tensor, pooled: Tensor) -> Trace:
        norm, folded = self._parts.final_norm, self._folded()
        scale = inverse_deviation(norm, pooled)
        one = pooled.new_ones(1)
        constant = torch.stack([block.constant(one, one)[0] for block in self._blocks]).sum(dim=0)
        bias = (constant @ folded) * scale[:, None] + self._wide("shift", norm.bias) @ self._projection()
        after = self._parts.projection_bias()
        rest = Rest(
            embedding=(start @ folded) * scale[:, None],
            mlps=(mlps @ folded) * scale[:, None, None],
            bias=bias if after is None else bias + self._wide("projection bias", after),
        )
        return Trace(values, scale, lambda: rest)

    def _bias(self, mask: Tensor | None, normed: Tensor, pooled: Tensor) -> Tensor | None:
        """What is added to the logits of the pooled query, [text, one or head, token]."""
        texts, length = normed.shape[:2]
        if mask is None:
            if not self._parts.causal:
                return None
            later = torch.arange(length, device=normed.device) > pooled[:, None]
            return torch.zeros_like(normed[..., 0]).masked_fill(later, float("-inf"))[:, None]
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=normed.dtype).masked_fill(mask, float("-inf"))
        if mask.ndim == 2:
            return mask.to(normed)[pooled][:, None]
        return mask.to(normed).reshape(texts, -1, length, length)[torch.arange(texts), :, pooled]


def text_tower_of(clip: nn.Module) -> TextTower:
    """The text tower of a CLIP. Raises `SummandError` for a kind that cannot be taken apart."""
    if hasattr(clip, "text_model"):
        return TextTower(clip, read_hugging_face(clip, clip.text_model))
    text = getattr(clip, "text", clip)
    if hasattr(text, "token_embedding") and hasattr(getattr(text, "transformer", None), "resblocks"):
        return TextTower(clip, read_open_clip(text))
    if text is clip:
        raise SummandError(_no_text(clip))
    raise SummandError(
        f"the text tower {type(text).__name__} of {type(clip).__name__} cannot be taken apart "
        f"(supported: {', '.join(SUPPORTED)})"
    )


def _no_text(clip: nn.Module) -> str:
    name = type(clip).__name__
    if "VisionModel" in name:
        return f"{name} is an image tower without a text tower; load the whole model for texts"
    return f"{name} has no text tower (no encode_text, and no get_text_features as transformers' models have)"
