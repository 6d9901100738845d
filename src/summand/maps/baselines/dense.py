"""Dense CLIP features: the last attention replaced so that every patch keeps its own content."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...models import Model
from .capture import Capture, Layer, captured, mix
from .method import by_image, method, token_queries


@method("maskclip", "MaskCLIP", "Zhou, Loy & Dai 2022, arXiv:2112.01071")
@torch.no_grad()
def maskclip(
    model: Model,
    pixels: Tensor,
    directions: Tensor,
    *,
    residual: bool = True,
    mlp: bool = True,
    cosine: bool = True,
    shared: Capture | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map_i = cos(M_i, t), M_i: the output where the last attention gives every token its own value v_i.

    residual, mlp: whether the last block's skip connection and its MLP stay, as the authors' code for transformers has
    it. In an attention pool there is no skip connection, and an MLP behind the pool always stays.
    """
    seen = captured(shared, model, pixels)
    last = seen.layers[-1]
    values = (last.value * last.module.head_scale()[:, None, None]).transpose(1, 2).flatten(2)
    return similarity(seen, dense_features(seen, values, residual, mlp), directions, cosine)


@method("sclip", "SCLIP", "Wang, Mei & Yuille 2023, arXiv:2312.01597", token_queries)
@torch.no_grad()
def sclip(
    model: Model,
    pixels: Tensor,
    directions: Tensor,
    *,
    residual: bool = True,
    mlp: bool = True,
    cosine: bool = True,
    shared: Capture | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map_i = cos(M_i, t), with rows softmax(q qᵀ/√c) + softmax(k kᵀ/√c) in the last attention (correlative)."""
    seen = captured(shared, model, pixels)
    last = seen.layers[-1]
    rows = own_rows(queries_of_all(last)) + own_rows(last.key)
    features = dense_features(seen, mix(last.module, rows, last.value), residual, mlp)
    return similarity(seen, features, directions, cosine)


@method("clearclip", "ClearCLIP", "Lan et al. 2024, arXiv:2407.12442", token_queries)
@torch.no_grad()
def clearclip(
    model: Model, pixels: Tensor, directions: Tensor, *, cosine: bool = True, shared: Capture | None = None
) -> Float[Tensor, "image text row column"]:
    r"""map_i = cos(M_i, t), with rows softmax(q qᵀ/√c) in the last block, its skip connection and its MLP left out."""
    seen = captured(shared, model, pixels)
    last = seen.layers[-1]
    outputs = mix(last.module, own_rows(queries_of_all(last)), last.value)
    return similarity(seen, dense_features(seen, outputs, residual=False, mlp=False), directions, cosine)


def own_rows(
    vectors: Float[Tensor, "image head token channel"],
) -> Float[Tensor, "image head token token"]:
    """softmax(x xᵀ/√c)."""
    return (vectors @ vectors.transpose(2, 3) * vectors.shape[-1] ** -0.5).softmax(dim=-1)


def queries_of_all(layer: Layer) -> Float[Tensor, "image head token channel"]:
    """q of every token, also in a pool that asks with one of them."""
    if layer.block is not None:
        return layer.query
    weight, bias = layer.module.projection(0)
    queries = layer.inputs if weight is None else F.linear(layer.inputs, weight, bias)
    return queries.unflatten(-1, (-1, layer.module.channels)).transpose(1, 2)


def dense_features(
    seen: Capture, outputs: Float[Tensor, "image token channels"], residual: bool, mlp: bool
) -> Float[Tensor, "image token embed"]:
    """What every token would be in the embedding space if the heads of the last attention had given it `outputs`."""
    block = seen.layers[-1].block
    if block is None:
        return seen.tower.to_embedding(outputs)
    stream = block.write(outputs)
    if residual:
        stream = seen.layers[-1].entering + stream
    if mlp:
        stream = stream + block.mlp(stream.to(seen.dtype))
    return seen.tower.to_embedding(stream)


def similarity(
    seen: Capture,
    features: Float[Tensor, "image token embed"],
    directions: Float[Tensor, "text *each embed"],
    cosine: bool,
) -> Float[Tensor, "image text row column"]:
    """⟨M_i/‖M_i‖, t⟩, or ⟨M_i, t⟩ where `cosine` is off."""
    features = F.normalize(features, dim=-1) if cosine else features
    texts = by_image(directions, len(features)).to(features)
    return seen.patches(torch.einsum("xie,ipe->ixp", texts, features))
