"""Maps that do not know the text: attention of the last layer, attention rollout, and chance."""

from __future__ import annotations

import zlib

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import Model
from .capture import Capture, captured
from .method import method, residual_only


@method("raw-attention", "Raw attention", "Caron et al. 2021, arXiv:2104.14294, section 4.2 (attention of [CLS])")
@torch.no_grad()
def raw_attention(
    model: Model, pixels: Tensor, directions: Tensor, *, shared: Capture | None = None
) -> Float[Tensor, "image text row column"]:
    """map_i = 1/H Σ_h A^{L,h}_{p,i}: what the pooled query p of the last attention looks at. Knows no text.

    The last attention is the pool where the tower has one. Where the mean of tokens is pooled: the mean of their rows.
    """
    seen = captured(shared, model, pixels)
    last = seen.layers[-1].attention
    row = torch.einsum("q,ihqt->it", seen.pooled_row(last.shape[-1]), last) / last.shape[1]
    return repeated(seen.patches(row), directions)


@method(
    "rollout",
    "Attention rollout",
    "Abnar & Zuidema 2020, arXiv:2005.00928, Eq. 1",
    residual_only("rollout multiplies the attention of all layers of a residual stream"),
)
@torch.no_grad()
def rollout(
    model: Model, pixels: Tensor, directions: Tensor, *, shared: Capture | None = None
) -> Float[Tensor, "image text row column"]:
    """map = e_pᵀ Ã^L ⋯ Ã^1 with Ã = (mean_h A + I)/2, Abnar & Zuidema 2020, Eq. 1. Knows no text.

    Only the pooled row is carried down through the layers, never a product of matrices.
    """
    seen = captured(shared, model, pixels)
    row = seen.pooled_row(seen.layers[-1].attention.shape[-1])[None, None].expand(len(pixels), 1, -1)
    for layer in reversed(seen.layers):
        row = (row + row @ layer.attention.mean(dim=1)) / 2
    return repeated(seen.patches(row[:, 0]), directions)


@method("random", "Random", "chance: independent uniform numbers", reads=None)
@torch.no_grad()
def random(
    model: Model, pixels: Tensor, directions: Tensor, *, seed: int = 0, shared: Capture | None = None
) -> Float[Tensor, "image text row column"]:
    """Independent uniform numbers: the level of chance. An image has the same ones in whatever batch it comes."""
    model.check_pixels(pixels)
    maps = []
    for image in pixels:
        content = zlib.crc32(image.detach().cpu().double().numpy().tobytes(), seed % (1 << 32))
        generator = torch.Generator().manual_seed(content)
        maps.append(torch.rand(len(directions), *model.tower.grid, generator=generator))
    return torch.stack(maps).to(directions)


def repeated(
    maps: Float[Tensor, "image row column"], directions: Float[Tensor, "text *each embed"]
) -> Float[Tensor, "image text row column"]:
    """One map for all texts."""
    return maps[:, None].expand(-1, len(directions), -1, -1)
