"""Pixels that a model can read: made of pictures, checked, and turned back into pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..data.sources import as_rgb
from ..errors import SummandError
from ..towers.finite import all_finite, check_plain

_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def preprocessed(
    preprocess: Callable[..., Any] | None, images: Image.Image | np.ndarray, name: str
) -> Float[Tensor, "*image 3 height width"]:
    """A PIL image → [3, height, width]; a uint8 array [image, height, width, 3] → [image, 3, height, width]."""
    if preprocess is None:
        raise SummandError(
            f"{name} was wrapped without preprocessing; pass preprocess= to summand.wrap, or give pixels"
        )
    if isinstance(images, np.ndarray):
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise SummandError(
                "expected a PIL image or a uint8 array [image, height, width, 3], "
                f"got {images.dtype} {list(images.shape)}"
            )
        if getattr(preprocess, "reads_arrays", False):
            return preprocess(images)
        return torch.stack([preprocess(Image.fromarray(image)) for image in images])
    if not isinstance(images, Image.Image):
        raise SummandError(f"expected a PIL image or a uint8 array, got {type(images).__name__}")
    return of_picture(preprocess, images)


def of_picture(transform: Callable[[Image.Image], Tensor], image: Image.Image) -> Tensor:
    """What a transform makes of a picture in RGB. Raises `SummandError` for one that it cannot read."""
    try:
        return transform(as_rgb(image))
    except ValueError as error:
        raise SummandError(f"the picture cannot be read: {error}") from error


def picture(
    pixels: Float[Tensor, "image 3 height width"], preprocess: Callable[..., Any] | None, visual: nn.Module
) -> np.ndarray:
    """Preprocessed pixels back as the model sees them, uint8 [image, height, width, 3]."""
    mean = getattr(visual, "image_mean", None) or getattr(preprocess, "mean", _OPENAI_MEAN)
    std = getattr(visual, "image_std", None) or getattr(preprocess, "std", _OPENAI_STD)
    shape = (1, 3, 1, 1)
    mean, std = (torch.tensor(values, dtype=torch.float32, device="cpu").reshape(shape) for values in (mean, std))
    light = pixels.detach().float().cpu() * std + mean
    return (light.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def check_pixels(x: Any, tower: Any, name: str, dtype: torch.dtype, device: torch.device, training: str | None) -> None:
    """Raises `SummandError` unless x is what the tower reads: [image, 3, height, width] of its size, not empty, finite,
    of this precision, on this device, and the tower in eval mode. training: what `in_training` says of it."""
    height, width = tower.image_size
    if isinstance(x, Tensor) and (x.is_nested or x.layout != torch.strided):
        raise SummandError(f"{name} expects an ordinary tensor of pixels, got a nested or sparse one")
    if not isinstance(x, Tensor) or x.ndim != 4 or tuple(x.shape[1:]) != (3, height, width):
        got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        if isinstance(x, Tensor) and x.ndim in (2, 3) and tower.kind.endswith("SigLIP 2"):
            got = f"{got}, flat patches as its own processor cuts them (give that processor as preprocess=)"
        raise SummandError(
            f"{name} expects pixels [image, 3, {height}, {width}], got {got}; model.preprocess makes them"
        )
    if x.shape[0] == 0:
        raise SummandError("expected at least one image, got an empty batch")
    if x.dtype != dtype:
        raise SummandError(f"{name} computes in {dtype}, got pixels in {x.dtype}; call x.to(model.dtype)")
    if x.device != device:
        raise SummandError(f"{name} is on {device}, the pixels are on {x.device}; call x.to(model.device)")
    check_plain(x, "the pixels")
    if not all_finite(x):
        raise SummandError("the pixels hold NaN or infinite numbers; check the images and the preprocessing")
    if training is not None:
        where = f"{training} of {name}" if training else name
        raise SummandError(f"{where} is in training mode, where dropout changes every pass; call .eval() on it")
