"""How each kind of image tower becomes a sum. Towers read the user's own weights by name and patch nothing."""

from __future__ import annotations

from torch import nn

from ..errors import SummandError
from .base import AttentionView, HeadMaps, Tower, Trace
from .resnet import ResNetTower
from .vit import VisionTransformerTower

__all__ = ["AttentionView", "HeadMaps", "Tower", "Trace", "tower_of"]

SUPPORTED = {"VisionTransformer": VisionTransformerTower, "ModifiedResNet": ResNetTower}


def tower_of(clip: nn.Module) -> Tower:
    """The image tower of a CLIP as a `Tower`. Raises `SummandError` for a kind that cannot be taken apart."""
    visual = getattr(clip, "visual", None)
    if visual is None:
        raise SummandError(
            f"{type(clip).__name__} has no image tower called `visual`; pass a model made by open_clip "
            f"(supported towers: {', '.join(SUPPORTED)})"
        )
    for ancestor in type(visual).__mro__:
        if ancestor.__name__ in SUPPORTED and ancestor.__module__.startswith("open_clip"):
            return SUPPORTED[ancestor.__name__](visual)
    raise SummandError(
        f"the image tower {type(visual).__name__} cannot be taken apart yet "
        f"(supported: {', '.join(SUPPORTED)} of open_clip)"
    )
