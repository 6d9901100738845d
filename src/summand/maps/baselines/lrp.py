"""Layer-wise relevance propagation through a transformer: LRP, partial LRP and transformer attribution."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import Model
from ...towers.listening import listening
from .capture import Capture, Layer, captured
from .gradients import attention_gradients
from .method import by_image, class_token_blocks, method
from .relevance import Rule, divided, of_linear, of_product, of_sum

_AT_ONCE = 1 << 25  # numbers of relevance that are held at the same time
_APPLIES = class_token_blocks("its rules of relevance are given for a residual stream")


@method("lrp", "LRP", "Binder et al. 2016, arXiv:1604.00825; α1β0 for transformers as in arXiv:2012.09838", _APPLIES)
@torch.no_grad()
def lrp(
    model: Model, pixels: Tensor, directions: Tensor, *, rule: Rule = "positive", shared: Capture | None = None
) -> Float[Tensor, "image text row column"]:
    """map_i = Σ_c R_{i,c}, the relevance of the text's score that reaches what the first block reads of token i.

    A patch's relevance goes on to its own pixels only, so its sum over the patch is what the full method shows.
    """
    seen = captured(shared, model, pixels)
    maps = [relevance_of(seen, directions[texts], rule)[0].sum(dim=-1) for texts in _pieces(seen, directions)]
    return seen.patches(torch.cat(maps).transpose(0, 1))


@method("partial-lrp", "Partial LRP", "Voita et al. 2019, arXiv:1905.09418; as in arXiv:2012.09838", _APPLIES)
@torch.no_grad()
def partial_lrp(
    model: Model, pixels: Tensor, directions: Tensor, *, rule: Rule = "positive", shared: Capture | None = None
) -> Float[Tensor, "image text row column"]:
    """map_i = mean_h max(R(A^{L,h})_{p,i}, 0): relevance is propagated to the last attention and no further."""
    seen = captured(shared, model, pixels)
    maps = []
    for texts in _pieces(seen, directions):
        _, attention = relevance_of(seen, directions[texts], rule, last_only=True)
        maps.append(attention[-1][:, :, :, 0].clamp(min=0).mean(dim=2))
    return seen.patches(torch.cat(maps).transpose(0, 1))


@method(
    "transformer-attribution",
    "Chefer 2021 (transformer attribution)",
    "Chefer, Gur & Wolf 2021a, arXiv:2012.09838, Eq. 13–14",
    _APPLIES,
    reads=0,
)
def transformer_attribution(
    model: Model,
    pixels: Tensor,
    directions: Tensor,
    *,
    first_layer: int = 0,
    cosine: bool = True,
    rule: Rule = "positive",
    shared: Capture | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map = e_pᵀ Ā^L ⋯ Ā^1, Ā^l = I + mean_h max(∂s/∂A^{l,h} ⊙ R(A^{l,h}), 0), R: relevance by LRP.

    Chefer, Gur & Wolf 2021a, Eq. 13 and 14; the product is over layers first_layer … L.
    """
    first = first_layer % model.tower.layers
    seen = captured(shared, model, pixels, first)
    rows = []
    for texts, gradients in attention_gradients(seen, directions, first, cosine):
        for piece in _pieces(seen, directions[texts]):
            with torch.no_grad():
                _, relevance = relevance_of(seen, directions[texts][piece], rule)
                row = seen.pooled_row(gradients[0].shape[-1]).expand(len(relevance[0]), len(pixels), 1, -1)
                for layer in range(len(seen.layers) - 1, first - 1, -1):
                    weight = gradients[layer - first][piece] * relevance[layer]
                    row = row + row @ weight.clamp(min=0).mean(dim=2)
                rows.append(row[:, :, 0].transpose(0, 1))
    return seen.patches(torch.cat(rows, dim=1))


@torch.no_grad()
def relevance_of(
    seen: Capture, directions: Float[Tensor, "text *each embed"], rule: Rule, last_only: bool = False
) -> tuple[Float[Tensor, "text image token width"], list[Float[Tensor, "text image head query token"]]]:
    r"""Relevance of the tokens that the first block reads, and of the attention of every layer, for scores ⟨M, t⟩.

    It starts as 1 (rule="positive") or as the score (rule="epsilon") at the output, which is read as a classifier with
    the weights P t. Norms, softmax and activation pass relevance on unchanged; matrix products and residual sums as in
    `relevance`. last_only: stop at the last attention.
    """
    last = seen.layers[-1]
    stream = seen.tower.final_normed(last.leaving[:, 0])
    weights = by_image(directions, len(stream)).to(stream) @ seen.tower.projection_matrix().T
    products = stream * weights  # of the score itself, a linear layer with a single output
    counted = products if rule == "epsilon" else products.clamp(min=0)
    start = products.sum(dim=-1, keepdim=True) if rule == "epsilon" else torch.ones_like(products[..., :1])
    relevance = stream.new_zeros(len(directions), *last.leaving.shape)
    relevance[:, :, 0] = counted * divided(start, counted.sum(dim=-1, keepdim=True))
    attention: list[Tensor] = []
    for layer in reversed(seen.layers):
        relevance, rows = through_block(layer, relevance, rule, last_only)
        attention.insert(0, rows)
        if last_only:
            break
    return relevance, attention


def through_block(
    layer: Layer, relevance: Float[Tensor, "text image token width"], rule: Rule, stop_at_attention: bool = False
) -> tuple[Float[Tensor, "text image token width"], Float[Tensor, "text image head query token"]]:
    """From what leaves a block to what enters it, and to its attention rows."""
    block, module = layer.block, layer.module
    hidden, normed = hidden_activations(layer)
    middle, mlp = of_sum(layer.middle, layer.leaving - layer.middle, relevance, rule)
    mlp = of_linear(hidden, block.neuron_output().weight.to(hidden), mlp, rule)
    middle = middle + of_linear(normed, block.neuron_input().weight.to(hidden), mlp, rule)
    entering, written = of_sum(layer.entering, layer.written, middle, rule)
    heads = of_linear(layer.mixed, module.out.weight.to(hidden), written, rule)
    heads = heads.unflatten(-1, (module.heads, -1)).transpose(2, 3)  # [text, image, head, query, channel]
    rows, value = of_product(layer.attention, layer.value, heads)
    if stop_at_attention:
        return entering, rows
    query, key = of_product(layer.query, layer.key.transpose(2, 3), rows)
    for which, part in enumerate((query, key.transpose(-1, -2), value)):
        weight, _ = module.projection(which)
        assert weight is not None
        entering = entering + of_linear(layer.inputs, weight, part.transpose(2, 3).flatten(3), rule)
    return entering, rows


def hidden_activations(layer: Layer) -> tuple[Float[Tensor, "image token neuron"], Float[Tensor, "image token width"]]:
    """The MLP's neurons behind the non-linearity, and what they read."""
    block = layer.block
    hidden: list[Tensor] = []
    reads: list[Tensor] = []
    listeners = [
        (block.neuron_map(), "before", lambda x, _: hidden.append(x)),
        (block.neuron_reads(), "before", lambda x, _: reads.append(x)),
    ]
    with listening(iter(listeners)):
        block.mlp(layer.middle.to(block.neuron_output().dtype))
    return hidden[0].to(layer.middle), reads[0].to(layer.middle)


def _pieces(seen: Capture, directions: Float[Tensor, "text *each embed"]) -> Iterator[slice]:
    """Texts whose relevance fits into memory together."""
    layer = seen.layers[-1]
    step = max(1, _AT_ONCE // (len(seen.layers) * layer.attention.numel() + 12 * layer.leaving.numel()))
    for start in range(0, len(directions), step):
        yield slice(start, min(start + step, len(directions)))
