"""GradCAM: activations weighted by their mean gradient."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...models import Model
from ...towers.base import working
from .capture import Capture, captured
from .gradients import score_gradients
from .method import method


@method("gradcam", "GradCAM", "Selvaraju et al. 2017, arXiv:1610.02391, Eq. 1–2", reads=-1)
def gradcam(
    model: Model,
    pixels: Tensor,
    directions: Tensor,
    *,
    layer: int = -1,
    features: Literal["tokens", "attention"] = "tokens",
    relu: bool = True,
    cosine: bool = True,
    shared: Capture | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map_i = ReLU(Σ_c α_c x_{i,c}), α_c = mean_i ∂s/∂x_{i,c} (Selvaraju et al. 2017, Eq. 1–2).

    x: what the last attention reads at the patches: the last convolution's output of a ModifiedResNet, the normalised
    tokens of a transformer's block `layer`. features="attention": x_{i,c} is head c's attention from the pooled query
    to token i, the form in which Chefer et al. 2021 compare with it. relu=False keeps negative evidence. cosine: s is
    the cosine of image and text, else their dot product.
    """
    if features not in ("tokens", "attention"):
        raise SummandError(f"features must be 'tokens' or 'attention', got {features!r}")
    if not -model.tower.layers <= layer < model.tower.layers:
        raise SummandError(f"{model.name} has {model.tower.layers} attention layers, got layer={layer}")
    seen = captured(shared, model, pixels, layer)
    found = seen.layers[layer]
    convolution = not seen.residual and seen.entering.ndim == 4
    features_of_tower = found.inputs if seen.residual else seen.entering
    source = found.attention if features == "attention" else features_of_tower

    def channels(tensor: Tensor) -> Float[Tensor, "*batch patch channel"]:
        if features == "attention":
            tensor = torch.einsum("...hqt,q->...th", tensor, seen.pooled_row(source.shape[-1]))
        elif convolution:
            return tensor.flatten(-2).transpose(-1, -2)
        return tensor[..., seen.tower.prefix :, :]

    values, maps = channels(working(source.detach())), []
    for _, (gradient,) in score_gradients(seen.output, directions, [source], cosine):
        weights = channels(working(gradient)).mean(dim=-2)  # [text, image, channel]
        maps.append(torch.einsum("xic,ipc->ixp", weights, values))
    evidence = torch.cat(maps, dim=1).unflatten(-1, seen.tower.grid)
    return evidence.clamp(min=0) if relu else evidence
