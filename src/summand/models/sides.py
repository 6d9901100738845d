"""Which modules of a CLIP belong to its images alone, and which to its texts alone."""

from __future__ import annotations

from torch import nn

IMAGE_SIDE = ("visual", "vision_model", "visual_projection")
TEXT_SIDE = ("text", "text_model", "transformer", "token_embedding", "ln_final", "text_decoder", "text_projection")
NOT_OF_TEXTS = (*IMAGE_SIDE, "logit_scale", "logit_bias", "text_decoder")
"""What no text embedding depends on."""


def only_of(clip: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """The modules of one side, without those that the other one shares; none in a tower by itself."""
    found = dict(clip.named_children())
    if not any(name in found for name in IMAGE_SIDE):
        return []
    others = {id(module) for name, child in found.items() if name not in names for module in child.modules()}
    aside = [found[name] for name in names if name in found]
    return [child for child in aside if not any(id(module) in others for module in child.modules())]


def of_texts(name: str) -> bool:
    """Whether a module or tensor of this name may take part in text embeddings."""
    return name.split(".")[0] not in NOT_OF_TEXTS
