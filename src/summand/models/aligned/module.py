"""A CLIP whose image tower is another network and one linear map."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import SummandError
from ...towers.dispatch import tower_of_visual

_TRANSFORMERS = ("VisionTransformer", "Eva", "VisionTransformerRelPos")
_SUCH = "vit_small_patch14_dinov2.lvd142m"


class AlignedTower(nn.Module):
    """x ↦ f(x) P + b, f the pooled output of a timm transformer: the image tower of an aligned model.

    P is the last of the maps that all terms go through, so the sum stays exact; b is a constant, in the bias term.
    """

    def __init__(self, trunk: nn.Module, width: int, embed: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Sequential(OrderedDict(proj=nn.Linear(width, embed)))
        self.image_mean: tuple[float, ...] | None = None
        self.image_std: tuple[float, ...] | None = None

    def forward(self, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image embed"]:
        return self.head(self.trunk(pixels))

    @torch.no_grad()
    def put(self, weight: Float[Tensor, "width embed"], bias: Float[Tensor, " embed"]) -> AlignedTower:
        """Set P and b."""
        proj: Any = self.head[0]
        proj.weight.copy_(weight.T)
        proj.bias.copy_(bias)
        return self.requires_grad_(False)


def headless(vision: Any) -> Any:
    """A timm transformer without its classifier, over the same weights; the caller's own is not changed. Raises
    `SummandError` for any other network, and for one whose output cannot be read as a sum."""
    if not isinstance(vision, nn.Module) or type(vision).__name__ not in _TRANSFORMERS:
        raise SummandError(
            f"vision is a timm model of type {', '.join(_TRANSFORMERS)}, or the name of one; got "
            f"{type(vision).__name__}. DINO, DINOv2 and v3, DeiT, MAE and supervised ViTs are there, such as {_SUCH}"
        )
    trunk: Any = copy.copy(vision)
    trunk.__dict__["_modules"] = dict(vision._modules)
    trunk.head = nn.Identity()
    pooled = getattr(trunk, "global_pool", "")
    if not pooled and getattr(trunk, "attn_pool", None) is None:
        raise SummandError(f"this {type(vision).__name__} was made with global_pool='', so it has no pooled output")
    if (channels := trunk.patch_embed.proj.weight.shape[1]) != 3:
        raise SummandError(f"vision reads images of {channels} channels; three are needed")
    tower_of_visual(AlignedTower(trunk, trunk.num_features, 1), lambda pixels: pixels)  # refused now, with the reason
    return trunk


def aligned_clip(clip: Any, tower: AlignedTower) -> nn.Module:
    """The CLIP with this image tower in the place of its own; the text side is the CLIP's, the same tensors."""
    if not isinstance(getattr(clip, "visual", None), nn.Module) or type(clip).__name__ == "CoCa":
        raise SummandError(
            f"{type(clip).__name__} has no image tower that another can stand in for; align with a model of open_clip "
            f"(most CLIPs of transformers are there too, as hf-hub:ORG/NAME)"
        )
    made = copy.copy(clip)
    made.__dict__["_modules"] = dict(clip._modules)
    made.visual = tower
    return made
