"""Gradient × attention through all layers: Chefer, Gur and Wolf's generic attention explainability (ICCV 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import Model
from .capture import Capture, captured
from .gradients import attention_gradients
from .method import method


@method(
    "chefer",
    "Chefer 2021 (gradient × attention)",
    "Chefer, Gur & Wolf 2021b, arXiv:2103.15679, Eq. 5–6, for CLIP",
    reads=0,
)
def generic_attention(
    model: Model,
    pixels: Tensor,
    directions: Tensor,
    *,
    first_layer: int = 0,
    cosine: bool = True,
    shared: Capture | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map = e_pᵀ R, R ← R + Ā^l R from R = I, Ā^l = mean_h max(∂s/∂A^{l,h} ⊙ A^{l,h}, 0), l = first_layer … L.

    The bi-modal method ("Generic attention-model explainability") in the form that its authors give for CLIP, where
    the image tower is a self-attention encoder. By default over all layers; the authors' notebook starts at the last
    one (first_layer=-1) for CLIP's ViT-B/32. Since only the pooled row p of R is wanted, it is carried down through the
    layers: e_pᵀ Π_l (I + Ā^l). In an attention pool there is one layer, and the map is its Ā.
    """
    first = first_layer % model.tower.layers
    seen = captured(shared, model, pixels, first)
    rows = []
    for _, gradients in attention_gradients(seen, directions, first, cosine):
        start = seen.pooled_row(seen.layers[-1].attention.shape[-1])
        row = start.expand(*gradients[0].shape[:2], 1, -1)
        for layer, gradient in zip(reversed(seen.layers[first:]), reversed(gradients), strict=True):
            step = row @ (gradient * layer.attention.detach()).clamp(min=0).mean(dim=2)
            row = row + step if seen.residual else step
        rows.append(row[:, :, 0].transpose(0, 1))
    return seen.patches(torch.cat(rows, dim=1))
