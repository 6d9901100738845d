"""Hugging Face's CLIP, SigLIP and SigLIP 2 vision towers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SummandError
from .base import Tower
from .effective import seen_through
from .linear import Projection
from .pool import LatentPool, PoolTower
from .residual import ResidualTower

KINDS = {
    "CLIPModel": "CLIP",
    "CLIPVisionModelWithProjection": "CLIP",
    "SiglipModel": "SigLIP",
    "SiglipVisionModel": "SigLIP",
    "Siglip2Model": "SigLIP 2",
    "Siglip2VisionModel": "SigLIP 2",
}


def hf_tower(model: nn.Module) -> Tower:
    """A transformers model with an image tower as a sum; its class is one of `KINDS`."""
    kind = next(KINDS[ancestor.__name__] for ancestor in type(model).__mro__ if ancestor.__name__ in KINDS)
    vision: Any = seen_through(getattr(model, "vision_model", model))
    call: Any = getattr(model, "get_image_features", model)
    config = vision.config
    if kind == "CLIP":
        side = config.image_size // config.patch_size
        return ResidualTower(
            vision,
            kind="Hugging Face CLIP",
            encode=lambda pixels: _embedding(call(pixel_values=pixels)),
            blocks=list(vision.encoder.layers),
            norm=vision.post_layernorm,
            projection=Projection.of(lambda: getattr(model, "visual_projection", None)),
            pool="tok",
            norm_first=True,
            image_size=(config.image_size, config.image_size),
            grid=(side, side),
            prefix=1,
        )
    if not vision.use_head:
        raise SummandError("it was made without its pooling head (vision_use_head=False), so it has no image embedding")
    whole = kind == "SigLIP"
    side = config.image_size // config.patch_size if whole else round(config.num_patches**0.5)

    def inputs(pixels: Tensor) -> dict[str, Tensor]:
        return {"pixel_values": pixels} if whole else _patches(pixels, config.patch_size)

    head = seen_through(vision.head)
    return PoolTower(
        vision,
        head,
        LatentPool(head.attention, lambda: head.probe[0]),
        kind=f"Hugging Face {kind}",
        encode=lambda pixels: _embedding(call(**inputs(pixels))),
        projection=Projection(list),
        image_size=(side * config.patch_size, side * config.patch_size),
        grid=(side, side),
        prefix=0,
        mlp=lambda vectors: head.mlp(head.layernorm(vectors)),
        forward=lambda pixels: vision(**inputs(pixels)),
    )


def _embedding(output: Any) -> Tensor:
    """The embedding in what transformers returns: a tensor in version 4, an output object in version 5."""
    if isinstance(output, Tensor):
        return output
    found = getattr(output, "image_embeds", None)
    return output.pooler_output if found is None else found


def _patches(pixels: Tensor, size: int) -> dict[str, Tensor]:
    """Pixels as SigLIP 2 reads them: flat patches, row by row, all of them real, and the shape of their grid."""
    images, channels, height, width = pixels.shape
    grid = (height // size, width // size)
    patches = pixels.reshape(images, channels, grid[0], size, grid[1], size).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": patches.reshape(images, grid[0] * grid[1], size * size * channels),
        "pixel_attention_mask": torch.ones(images, grid[0] * grid[1], dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.tensor([grid] * images, device=pixels.device),
    }
