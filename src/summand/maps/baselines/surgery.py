"""CLIP Surgery: a second path of v–v attention alone through the later blocks, and features without what all share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...models import Model
from ...towers.base import working
from .capture import Capture, captured, mix
from .dense import own_rows, similarity
from .method import by_image, method, token_queries

_SHARPNESS = 2.0  # of the class weights in feature surgery, on cosines


@method("clip-surgery", "CLIP Surgery", "Li et al. 2023, arXiv:2304.05653", token_queries)
@torch.no_grad()
def clip_surgery(
    model: Model,
    pixels: Tensor,
    directions: Tensor,
    *,
    first_layer: int | None = None,
    feature_surgery: bool = False,
    cosine: bool = True,
    shared: Capture | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map_i = cos(M̂_i, t), M̂ from ẑ ← ẑ + W_O softmax(v vᵀ/√c) v for the later blocks, ẑ = z at the first of them.

    Architecture surgery: v is always read from the original path z, and the second path ẑ has no MLPs. first_layer:
    where it begins, by default half way (block 6 of 12, as the authors have it). In an attention pool: its one layer.

    feature_surgery: subtract what all texts share, Σ_e M̂_{i,e} (w_t t_e − mean_t' w_t' t'_e) with class weights w =
    softmax(2 cos(M, t))/mean; it needs several texts and makes each map depend on the others. Off by default: centre
    the directions on a contrast set instead.
    """
    if feature_surgery and len(directions) < 2:
        raise SummandError("feature_surgery subtracts what the texts share, so it needs at least two directions")
    layers = model.tower.layers
    first = layers // 2 if first_layer is None else first_layer % layers
    seen = captured(shared, model, pixels)
    if not seen.residual:
        last = seen.layers[-1]
        features = seen.tower.to_embedding(mix(last.module, own_rows(last.value), last.value))
    else:
        stream = working(seen.layers[first].entering)
        for layer in seen.layers[first:]:
            stream = stream + layer.block.write(mix(layer.module, own_rows(layer.value), layer.value))
        features = seen.tower.to_embedding(stream)
    if feature_surgery:
        texts = F.normalize(by_image(directions, len(features)), dim=-1).to(features).transpose(0, 1)
        share = (_SHARPNESS * texts @ F.normalize(seen.output, dim=-1)[..., None])[..., 0].softmax(dim=-1)
        weighted = (share / share.mean(dim=-1, keepdim=True))[..., None] * texts  # [image, text, embed]
        features = F.normalize(features, dim=-1) if cosine else features
        return seen.patches((weighted - weighted.mean(dim=1, keepdim=True)) @ features.transpose(1, 2))
    return similarity(seen, features, directions, cosine)
