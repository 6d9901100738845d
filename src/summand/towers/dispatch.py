"""Which tower a model has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import SummandError
from .base import Tower
from .effective import seen_through
from .hf import KINDS as _HUGGING_FACE
from .hf import hf_tower
from .probe import remedy
from .resnet import resnet_tower
from .timm import timm_tower
from .vit import vision_transformer_tower

_OPEN_CLIP = {
    "VisionTransformer": vision_transformer_tower,
    "ModifiedResNet": resnet_tower,
    "TimmModel": timm_tower,
}
SUPPORTED = (
    "open_clip's VisionTransformer (class token, average or attentional pooling) and ModifiedResNet, timm trunks of "
    "type VisionTransformer (SigLIP, ViTamin, MobileCLIP-B), Eva (EVA-02, PE) and VisionTransformerRelPos, and "
    f"transformers' {', '.join(_HUGGING_FACE)}"
)


def tower_of(clip: nn.Module) -> Tower:
    """The image tower of a CLIP as a `Tower`. Raises `SummandError` for a kind that cannot be taken apart."""
    if any(ancestor.__name__ in _HUGGING_FACE for ancestor in type(clip).__mro__):
        return _named(type(clip).__name__, partial(hf_tower, clip))
    visual = getattr(clip, "visual", None)
    if visual is None:
        raise SummandError(
            f"{type(clip).__name__} has no image tower called `visual`; pass a model made by open_clip or transformers "
            f"(supported: {SUPPORTED})"
        )
    encode_image: Any = clip.encode_image

    def encode(pixels: Tensor) -> Tensor:
        return encode_image(pixels, normalize=False)

    return tower_of_visual(visual, encode)


def tower_of_visual(visual: nn.Module, encode: Callable[[Tensor], Tensor]) -> Tower:
    """One of open_clip's image towers as a `Tower`; `encode` gives the wrapped model's own embedding."""
    visual = seen_through(visual)
    for ancestor in type(visual).__mro__:
        if ancestor.__name__ in _OPEN_CLIP and ancestor.__module__.startswith("open_clip"):
            make = _OPEN_CLIP[ancestor.__name__]
            return _named(name_of(visual), partial(make, visual, encode))
    raise SummandError(
        f"the image tower {name_of(visual)} cannot be taken apart{remedy(visual)} (supported: {SUPPORTED})"
    )


def name_of(visual: nn.Module) -> str:
    trunk = seen_through(getattr(visual, "trunk", None))
    return type(visual).__name__ if trunk is None else f"timm {type(trunk).__name__}"


def _named(name: str, make: Callable[[], Tower]) -> Tower:
    try:
        return make()
    except SummandError as error:
        raise SummandError(f"the image tower {name} cannot be taken apart: {error} (supported: {SUPPORTED})") from error
