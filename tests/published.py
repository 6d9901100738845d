"""The published way to decompose a CLIP-ViT (paper C's code, its per-head method), transcribed literally.

Every block computes, for every query token, every key token and every head, the projected value on its own,
[image, query, key, head, width]; the class token's row is kept. It is the oracle of the fast path, and what the
benchmark compares with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def published_head_token_terms(visual: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Output [image, embed] and the centred contributions of each layer, head and token to it,
    [image, layer, head, token, embed], for a class-token VisionTransformer."""
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding
    x = visual.ln_pre(x)
    kept = []
    for block in visual.transformer.resblocks:
        attention = block.attn
        normed = block.ln_1(x)
        heads, width = attention.num_heads, x.shape[-1]
        size = width // heads
        q, k, v = (
            nn.functional.linear(normed, w, b).unflatten(-1, (heads, size))
            for w, b in zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
        )
        weights = (torch.einsum("bqhc,bkhc->bhqk", q, k) / size**0.5).softmax(dim=-1)
        output = attention.out_proj.weight.unflatten(1, (heads, size))
        each = torch.einsum("bhqk,bkhc->bqkhc", weights, v)
        each = torch.einsum("bqkhc,whc->bqkhw", each, output)  # every query, key and head, projected
        kept.append(each[:, 0].transpose(1, 2))
        x = x + each.sum(dim=(2, 3)) + attention.out_proj.bias
        x = x + block.mlp(block.ln_2(x))
    pooled, norm = x[:, 0], visual.ln_post
    sigma = (pooled.var(dim=-1, correction=0) + norm.eps).sqrt()
    terms = torch.stack(kept, dim=1)
    terms = (terms - terms.mean(dim=-1, keepdim=True)) / sigma[:, None, None, None, None] * norm.weight
    return norm(pooled) @ visual.proj, terms @ visual.proj
