"""Gradients of the score of every text, many texts in one backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .capture import Capture
from .method import by_image

_AT_ONCE = 1 << 26  # numbers of gradients that are held at the same time


def score_gradients(
    embedding: Float[Tensor, "image embed"],
    directions: Float[Tensor, "text *each embed"],
    inputs: Sequence[Tensor],
    cosine: bool = True,
) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
    r"""∂s/∂x for s = ⟨M/‖M‖, t⟩ (or ⟨M, t⟩ where `cosine` is off) and every x of `inputs`, [text, *x.shape].

    Images do not see each other, so one backward pass serves all of them, also where each image has a text of its own
    (directions [text, image, embed]); texts are batched over the same recorded
    graph (vmap of the backward pass), in pieces that bound memory. Yields (which texts, gradients of each input).
    """
    output = F.normalize(embedding, dim=-1) if cosine else embedding
    step = max(1, _AT_ONCE // sum(x.numel() for x in inputs))
    for start in range(0, len(directions), step):
        texts = slice(start, min(start + step, len(directions)))
        upstream = by_image(directions[texts], len(output)).to(output)
        if len(upstream) == 1:
            found = torch.autograd.grad(output, list(inputs), upstream[0], retain_graph=True)
            yield texts, tuple(gradient[None] for gradient in found)
        else:
            yield texts, torch.autograd.grad(output, list(inputs), upstream, retain_graph=True, is_grads_batched=True)


def attention_gradients(
    seen: Capture, directions: Float[Tensor, "text *each embed"], first: int, cosine: bool
) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
    """∂s/∂A^l of every layer from `first` on, [text, image, head, query, token]."""
    return score_gradients(seen.output, directions, [layer.attention for layer in seen.layers[first:]], cosine)
