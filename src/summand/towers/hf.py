"""Hugging Face's CLIP, MetaCLIP 2, Chinese CLIP, AltCLIP, SigLIP and SigLIP 2 vision towers."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SummandError, first_line
from .base import Tower
from .effective import seen_through
from .layout import covering, grid_of, pair
from .linear import Projection
from .pool import LatentPool, PoolTower
from .residual import ResidualTower

KINDS = {
    "CLIPModel": "CLIP",
    "CLIPVisionModelWithProjection": "CLIP",
    "MetaClip2Model": "MetaCLIP 2",
    "MetaClip2VisionModelWithProjection": "MetaCLIP 2",
    "ChineseCLIPModel": "Chinese CLIP",
    "AltCLIPModel": "AltCLIP",
    "SiglipModel": "SigLIP",
    "SiglipVisionModel": "SigLIP",
    "Siglip2Model": "SigLIP 2",
    "Siglip2VisionModel": "SigLIP 2",
}


def hf_tower(model: nn.Module) -> Tower:
    """A transformers model with an image tower as a sum; its class is one of `KINDS`."""
    kind = next(KINDS[ancestor.__name__] for ancestor in type(model).__mro__ if ancestor.__name__ in KINDS)
    vision = vision_of(model)
    if not kind.startswith("SigLIP"):
        return _clip(model, vision, kind)
    if not vision.use_head:
        raise SummandError("it was made without its pooling head (vision_use_head=False), so it has no image embedding")
    return _siglip(model, vision) if kind == "SigLIP" else _siglip2(model, vision)


def vision_of(model: Any) -> Any:
    """The module that holds a model's image blocks; until version 5 it was one or two levels further in."""
    while hasattr(model, "vision_model"):
        model = model.vision_model
    return seen_through(model)


def _clip(model: Any, vision: Any, kind: str) -> Tower:
    size, patch = pair(vision.config.image_size), pair(vision.config.patch_size)
    tower = ResidualTower(
        vision,
        kind=f"Hugging Face {kind}",
        encode=_encoder(model, lambda pixels: {"pixel_values": pixels}),
        blocks=list(vision.encoder.layers),
        norm=vision.post_layernorm,
        projection=Projection.of(lambda: getattr(model, "visual_projection", None)),
        pool="tok",
        norm_first=True,
        image_size=size,
        grid=grid_of(size, patch),
        prefix=1,
    )
    return covering(tower, patch)


def _siglip(model: Any, vision: Any) -> Tower:
    size, patch = pair(vision.config.image_size), pair(vision.config.patch_size)
    return _pooled(model, vision, "SigLIP", size, grid_of(size, patch), lambda pixels: {"pixel_values": pixels})


def _siglip2(model: Any, vision: Any) -> Tower:
    """SigLIP 2 NaFlex reads flat patches of any grid; here one grid for all images, cut from pixels."""
    config = vision.config
    side = isqrt(config.num_patches)
    if side * side != config.num_patches:
        raise SummandError(
            f"its configuration has num_patches={config.num_patches}, which is no square number; transformers lays the "
            f"positions of SigLIP 2 out as a square, so the model itself cannot run"
        )
    patch = pair(config.patch_size)
    size = getattr(vision, READ_AT, (side * patch[0], side * patch[1]))
    return _pooled(model, vision, "SigLIP 2", size, grid_of(size, patch), lambda pixels: _patches(pixels, patch))


READ_AT = "summand_image_size"
"""Attribute of a SigLIP 2 image tower: height and width that it is read at, where that is not its own square."""


def _pooled(
    model: Any,
    vision: Any,
    kind: str,
    size: tuple[int, int],
    grid: tuple[int, int],
    inputs: Callable[[Tensor], dict[str, Tensor]],
) -> Tower:
    head, encode = seen_through(vision.head), _encoder(model, inputs)
    tower = PoolTower(
        vision,
        head,
        LatentPool(head.attention, lambda: head.probe[0]),
        kind=f"Hugging Face {kind}",
        encode=encode,
        projection=Projection(list),
        image_size=size,
        grid=grid,
        prefix=0,
        mlp=lambda vectors: head.mlp(head.layernorm(vectors)),
        forward=encode,
    )
    return covering(tower, pair(vision.config.patch_size))


def _encoder(model: Any, inputs: Callable[[Tensor], dict[str, Tensor]]) -> Callable[[Tensor], Tensor]:
    """The model's own embedding: `get_image_features`, or what an image tower alone returns."""

    def encode(pixels: Tensor) -> Tensor:
        call = getattr(model, "get_image_features", model)
        found = run_own(model, call, **inputs(pixels))
        return embedding_of(found, first=call is model and hasattr(model, "visual_projection"))

    return encode


def run_own(model: Any, call: Callable[..., Any], **inputs: Tensor) -> Any:
    """call(**inputs); where a model of transformers cannot run by itself, as some with return_dict=False, say so."""
    try:
        return call(**inputs)
    except (AttributeError, TypeError) as error:
        name = f"transformers' own {type(model).__name__}"
        if "'tuple' object" in str(error):
            raise SummandError(
                f"{name} cannot run with return_dict=False in its configuration ({error}); set return_dict = True "
                f"there, also in its text_config and vision_config"
            ) from error
        raise SummandError(f"{name} cannot run: {first_line(error)}; try another release of transformers") from error


def embedding_of(output: Any, first: bool = False) -> Tensor:
    """The embedding in what transformers returns: a tensor in version 4, an output object in version 5, and a tuple
    where the configuration says return_dict=False. first: the tuple begins with it, else the last tokens come first."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, tuple):
        return output[0 if first else 1]
    for name in ("image_embeds", "text_embeds"):
        found = getattr(output, name, None)
        if found is not None:
            return found
    return output.pooler_output


def _patches(pixels: Tensor, patch: tuple[int, int]) -> dict[str, Tensor]:
    """Pixels as SigLIP 2 reads them: flat patches, row by row, all of them real, and the shape of their grid."""
    images, channels, height, width = pixels.shape
    (rows, columns), (high, wide) = grid_of((height, width), patch), patch
    cut = pixels[:, :, : rows * high, : columns * wide].reshape(images, channels, rows, high, columns, wide)
    return {
        "pixel_values": cut.permute(0, 2, 4, 3, 5, 1).reshape(images, rows * columns, high * wide * channels),
        "pixel_attention_mask": torch.ones(images, rows * columns, dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.tensor([(rows, columns)] * images, device=pixels.device),
    }


def resize_positions(model: Any, size: tuple[int, int]) -> None:
    """Let a model that the caller owns read images of another size, positions interpolated by its own rule: what
    `interpolate_pos_encoding=True` computes at every pass is computed once. SigLIP 2 does so by itself.

    Raises `SummandError` for sides that differ, which transformers' CLIP and SigLIP do not read, except SigLIP 2.
    """
    vision = vision_of(model)
    embeddings = vision.embeddings
    if not hasattr(embeddings, "interpolate_pos_encoding"):
        if not hasattr(embeddings, "resize_positional_embeddings"):
            raise SummandError("this version of transformers cannot interpolate its positions; leave out image_size")
        setattr(vision, READ_AT, size)
        return
    if size[0] != size[1]:
        raise SummandError(f"transformers' {type(model).__name__} reads squares; give image_size as one number")
    patch, old = vision.config.patch_size, embeddings.position_embedding
    prefix = len(old.weight) - (vision.config.image_size // patch) ** 2
    count = prefix + (size[0] // patch) ** 2
    with torch.no_grad():
        like = old.weight.new_zeros(1, count, old.weight.shape[1])
        positions = embeddings.interpolate_pos_encoding(like, *size)[0]
    embeddings.position_embedding = nn.Embedding.from_pretrained(positions.clone(), freeze=not old.weight.requires_grad)
    embeddings.position_ids = torch.arange(count, device=positions.device)[None]
    embeddings.num_patches, embeddings.num_positions, embeddings.image_size = count - prefix, count, size[0]
    vision.config.image_size = size[0]
