"""LeGrad: the positive gradient of each layer's score with respect to its attention."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...models import Model
from .capture import Capture, captured
from .gradients import score_gradients
from .method import method


@method("legrad", "LeGrad", "Bousselham et al. 2024, arXiv:2404.03214", reads=0)
def legrad(
    model: Model,
    pixels: Tensor,
    directions: Tensor,
    *,
    first_layer: int = 0,
    pool: Literal["mean", "tower"] = "mean",
    cosine: bool = True,
    shared: Capture | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map_i = mean_l 1/(H N) Σ_{h,q} max(∂s^l/∂A^{l,h}_{q,i}, 0), s^l = ⟨pool(Z^l), t⟩ through the final norm.

    Z^l: the tokens that leave block l, so that only block l lies between A^l and s^l and one backward pass through all
    blocks is never made. pool="mean": s^l is read from the mean of all tokens; "tower": from what the tower pools
    itself (the class token). In an attention pool: its only layer and its own output.
    """
    if pool not in ("mean", "tower"):
        raise SummandError(f"pool must be 'mean' or 'tower', got {pool!r}")
    first = first_layer % model.tower.layers
    seen = captured(shared, model, pixels, first)
    total: Tensor | None = None
    for layer in seen.layers[first:]:
        embedding = seen.output
        if seen.residual:
            with torch.enable_grad():
                stream = layer.leaving
                embedding = seen.tower.to_embedding(stream.mean(dim=1)) if pool == "mean" else seen.tower.finish(stream)
        found = [
            gradient.clamp(min=0).mean(dim=(2, 3))
            for _, (gradient,) in score_gradients(embedding, directions, [layer.attention], cosine)
        ]
        relevance = torch.cat(found).transpose(0, 1)
        total = relevance if total is None else total + relevance
    assert total is not None
    return seen.patches(total / (len(seen.layers) - first))
