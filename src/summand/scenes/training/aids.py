"""What helps the image tower to learn and is not kept: a task on the patches, and dropped MLP outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...towers.border import foreign
from ..attributes import ATTRIBUTES
from .batches import PATCH_TASK

MLP_DROP = 0.25
UNDROPPED_BLOCKS = 2


class PatchTask(nn.Module):
    """Linear classifiers on the tokens of a middle layer; a training aid that is not kept."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        visual = foreign(model).visual
        self.is_vit = hasattr(visual, "transformer")
        layer = visual.transformer.resblocks[3] if self.is_vit else visual.layer3
        width = visual.transformer.width if self.is_vit else visual.layer3[-1].conv3.out_channels
        self.heads = nn.ModuleDict({name: nn.Linear(width, 1 + len(ATTRIBUTES[name])) for name in PATCH_TASK})
        self.seen: Tensor | None = None
        layer.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.seen = output

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        assert self.seen is not None
        tokens = self.seen[:, 1:] if self.is_vit else self.seen.flatten(2).transpose(1, 2)
        losses = []
        for name, head in self.heads.items():
            label = batch[f"patch/{name}"].flatten()
            each = F.cross_entropy(head(tokens).flatten(0, 1), label, reduction="none")
            on = (label > 0).to(each)
            # Nine patches in ten are background: objects and background count alike.
            losses.append((each * on).sum() / on.sum().clamp(min=1) + (each * (1 - on)).sum() / (1 - on).sum())
        return torch.stack(losses).mean()


def drop_class_token_mlps(model: nn.Module, generator: torch.Generator) -> None:
    """Register hooks that, in training mode, silence the class token's MLP output in the later blocks at random."""
    visual = foreign(model).visual
    if not hasattr(visual, "transformer"):
        return

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if not module.training:
            return None
        keep = (torch.rand(len(output), 1, generator=generator) >= MLP_DROP).to(output)
        return torch.cat([output[:, :1] * keep[:, None], output[:, 1:]], dim=1)

    for block in list(visual.transformer.resblocks)[UNDROPPED_BLOCKS:]:
        block.mlp.register_forward_hook(hook)


def freeze_all_but_last(model: nn.Module, count: int) -> None:
    """Leave only the last `count` blocks of a ViT, its final norm and its projection to be trained."""
    visual = foreign(model).visual
    if not hasattr(visual, "transformer"):
        raise ValueError("--train-last is for a ViT")
    last = [*visual.transformer.resblocks[-count:], visual.ln_post]
    learning = {id(p) for module in last for p in module.parameters()} | {id(visual.proj)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learning)
