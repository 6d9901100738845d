"""Grad-ECLIP: values weighted by the gradient of the class token's attention output and by loosened attention."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...models import Model
from .capture import Capture, captured
from .gradients import score_gradients
from .method import method, one_query


@method("grad-eclip", "Grad-ECLIP", "Zhao et al. 2024, arXiv:2502.18816", one_query, reads=-1)
def grad_eclip(
    model: Model, pixels: Tensor, directions: Tensor, *, cosine: bool = True, shared: Capture | None = None
) -> Float[Tensor, "image text row column"]:
    r"""map_i = ReLU(λ_i Σ_c w_c v_{i,c}), w = ∂s/∂o, λ_i = minmax_i cos(q, k_i).

    o = Σ_i a_i v_i: what the last attention gives for the pooled query; v_i, q, k_i: values, query and keys; all with
    the heads side by side, before W_O (behind it, w and v turn alike and the sum is the same but for the bias). λ
    loosens the softmax, which would leave a few tokens only.
    """
    seen = captured(shared, model, pixels, -1)
    last, prefix = seen.layers[-1], seen.tower.prefix
    with torch.no_grad():
        values = side_by_side(last.value * last.module.head_scale()[:, None, None])[:, prefix:]
        cosines = F.cosine_similarity(side_by_side(last.query[:, :, :1]), side_by_side(last.key)[:, prefix:], dim=-1)
        low, high = cosines.amin(dim=1, keepdim=True), cosines.amax(dim=1, keepdim=True)
        loosened = (cosines - low) / (high - low).clamp(min=torch.finfo(cosines.dtype).eps)
    maps = [
        torch.einsum("xic,ipc->ixp", gradient[:, :, 0], values) * loosened[:, None]
        for _, (gradient,) in score_gradients(seen.output, directions, [last.mixed], cosine)
    ]
    return torch.cat(maps, dim=1).clamp(min=0).unflatten(-1, seen.tower.grid)


def side_by_side(heads: Float[Tensor, "image head token channel"]) -> Float[Tensor, "image token channels"]:
    return heads.transpose(1, 2).flatten(2)
