"""Which tower a model has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import SummandError
from .base import Tower
from .effective import seen_through
from .hf import KINDS as _HUGGING_FACE
from .hf import hf_tower
from .hf_names import why_not
from .layout import with_prefix
from .probe import remedy
from .resnet import resnet_tower
from .timm import timm_tower
from .vit import vision_transformer_tower

_TRANSFORMER = ("conv1", "class_embedding", "positional_embedding", "transformer", "ln_post", "proj")
# What each kind is made of, by the names that OpenAI's code and open_clip give to its parts. Copies of that code live
# in many packages, so a class is known by its name and its parts, not by the package it comes from.
_KINDS: dict[str, tuple[Callable[..., Tower], tuple[str, ...]]] = {
    "VisionTransformer": (vision_transformer_tower, _TRANSFORMER),
    "VisualTransformer": (vision_transformer_tower, _TRANSFORMER),  # its name in early copies of OpenAI's code
    "ModifiedResNet": (resnet_tower, ("conv1", "layer4", "attnpool")),
    "TimmModel": (timm_tower, ("trunk", "head")),
    "AlignedTower": (timm_tower, ("trunk", "head")),  # summand.align's
}
SUPPORTED = (
    "open_clip's VisionTransformer (class token, average or attentional pooling) and ModifiedResNet, the same of the "
    "clip package, timm trunks of type VisionTransformer (SigLIP, ViTamin, MobileCLIP-B), Eva (EVA-02, PE) and "
    f"VisionTransformerRelPos, and transformers' {', '.join(_HUGGING_FACE)}"
)


def tower_of(clip: nn.Module, prefix: int | None = None) -> Tower:
    """The image tower of a CLIP as a `Tower`. Raises `SummandError` for a kind that cannot be taken apart.

    prefix: how many tokens stand before the grid of patches, the class token and registers, where a tower of the
    caller's own adds some.
    """
    named = any(ancestor.__name__ in _HUGGING_FACE for ancestor in type(clip).__mro__)
    if named and hasattr(clip, "config"):  # many a tutorial has a CLIPModel of its own
        return _named(type(clip).__name__, lambda: with_prefix(hf_tower(clip), prefix))
    visual = getattr(clip, "visual", None)
    if not isinstance(visual, nn.Module):
        raise SummandError(_no_tower(clip))
    return tower_of_visual(visual, partial(_encode, clip, visual), prefix)


def tower_of_visual(visual: nn.Module, encode: Callable[[Tensor], Tensor], prefix: int | None = None) -> Tower:
    """One of open_clip's image towers as a `Tower`; `encode` gives the wrapped model's own embedding."""
    visual = seen_through(visual)
    for ancestor in type(visual).__mro__:
        make, parts = _KINDS.get(ancestor.__name__, (None, ()))
        if make is not None and all(hasattr(visual, part) for part in parts):
            return _named(name_of(visual), partial(_made, make, visual, encode, prefix))
    why = remedy(visual)
    if any(ancestor.__name__ == "ScriptModule" for ancestor in type(visual).__mro__):
        why = ": it is compiled by TorchScript, which cannot be read; load the model with jit=False"
    raise SummandError(f"the image tower {name_of(visual)} cannot be taken apart{why} (supported: {SUPPORTED})")


def _made(make: Callable[..., Tower], visual: Any, encode: Any, prefix: int | None) -> Tower:
    return with_prefix(make(visual, encode), prefix)


def name_of(visual: nn.Module) -> str:
    trunk = seen_through(getattr(visual, "trunk", None))
    return type(visual).__name__ if trunk is None else f"timm {type(trunk).__name__}"


def _encode(clip: Any, visual: Any, pixels: Tensor) -> Tensor:
    """The wrapped model's own embedding, not normalised; where it has no `encode_image`, what its tower returns."""
    encode_image = getattr(clip, "encode_image", None)
    if encode_image is None:
        found, source = visual(pixels), f"{type(visual).__name__}.forward"
        if isinstance(found, (tuple, list)) and found:  # with output_tokens the embedding comes first
            found = found[0]
    else:
        source = f"{type(clip).__name__}.encode_image"
        check_call(encode_image, source, "pixels")
        found = called(encode_image, pixels)
    if not isinstance(found, Tensor) or found.ndim != 2:
        got = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise SummandError(f"{source} must return one embedding for each image, [image, embed]; it returned {got}")
    return found


def called(encode: Callable[..., Any], inputs: Tensor) -> Any:
    """encode(inputs) without normalisation where it has the switch: open_clip's CoCa normalises unless told not to,
    and OpenAI's own code has no switch."""
    return encode(inputs, normalize=False) if takes_normalize(encode) else encode(inputs)


def check_call(encode: Callable[..., Any], source: str, what: str) -> None:
    """Raises `SummandError` where a method of the caller's own needs more than the one argument."""
    try:
        signature = inspect.signature(encode)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise SummandError(f"{source} cannot be called with {what} alone: {error}") from error


def takes_normalize(encode: Callable[..., Any]) -> bool:
    """Whether a method names `normalize`, or hands on its keywords to a method of a parent class that does."""
    known = _parameters(encode)
    if "normalize" in known:
        return True
    if not any(kind == inspect.Parameter.VAR_KEYWORD for kind in known.values()):
        return False
    owner, name = getattr(encode, "__self__", None), getattr(encode, "__name__", "")
    parents = [vars(ancestor)[name] for ancestor in type(owner).__mro__ if name in vars(ancestor)]
    return any("normalize" in _parameters(parent) for parent in parents)


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return {name: parameter.kind for name, parameter in inspect.signature(function).parameters.items()}
    except (TypeError, ValueError):  # a method of a compiled or scripted model
        return {}


def _no_tower(clip: nn.Module) -> str:
    name = type(clip).__name__
    reason = next(filter(None, (why_not(ancestor.__name__) for ancestor in type(clip).__mro__)), None)
    if reason is not None:
        return f"{name} cannot be taken apart: {reason} (supported: {SUPPORTED})"
    return (
        f"{name} has no image tower called `visual`; pass a model made by open_clip, the clip package or transformers "
        f"(supported: {SUPPORTED})"
    )


def _named(name: str, make: Callable[[], Tower]) -> Tower:
    try:
        return make()
    except SummandError as error:
        raise SummandError(f"the image tower {name} cannot be taken apart: {error} (supported: {SUPPORTED})") from error
