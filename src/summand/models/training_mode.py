"""Which modules give other numbers in training mode."""

from __future__ import annotations

from torch import nn

_THE_SAME = (
    *(nn.LayerNorm, nn.Linear, nn.Conv2d, nn.Embedding, nn.Identity, nn.GELU, nn.SiLU, nn.ReLU),
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList),
)


_FROZEN = ("ParametrizationList", "FrozenBatchNorm2d")


def in_training(tower: nn.Module) -> str | None:
    """The name of a module that may give other numbers in training mode and is in it; "" for the tower itself."""
    if not any(module.training for module in tower.modules()):
        return None
    for name, module in tower.named_modules():
        same = type(module) in _THE_SAME or type(module).__name__ in _FROZEN
        if module.training and (not name or not same):
            return name
    return None
