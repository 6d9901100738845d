"""One step of several processes: their mean gradient, and the optimisers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .text_stage import text_parameters


@dataclass(frozen=True)
class Team:
    """Data-parallel processes, as started by torchrun; alone where there is no such launcher."""

    rank: int
    size: int

    @staticmethod
    def join(device: torch.device) -> Team:
        if "WORLD_SIZE" not in os.environ:
            return Team(0, 1)
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return Team(torch.distributed.get_rank(), torch.distributed.get_world_size())

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the team, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, mean in zip(gradients, (flat / self.size).split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


class Optimizers:
    """Muon for the matrices of the image tower's blocks, AdamW for everything else; one learning rate for all, the
    text tower's a twentieth of it. Muon's updates are scaled to AdamW's size."""

    def __init__(self, model: nn.Module, task: nn.Module, weight_decay: float, muon: bool) -> None:
        image = [(n, p) for n, p in model.named_parameters() if n.startswith("visual.") or n == "logit_scale"]
        blocks = [p for n, p in image if muon and p.ndim == 2 and "resblocks" in n]
        taken = {id(p) for p in blocks}
        rest = [p for _, p in image if id(p) not in taken] + list(task.parameters())
        self.text = text_parameters(model)
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay, "share": 1.0},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "share": 1.0},
            {"params": self.text, "weight_decay": 0.0, "share": 0.05},
        ]
        self.all: dict[str, torch.optim.Optimizer] = {"adamw": torch.optim.AdamW(groups, betas=(0.9, 0.98))}
        if blocks:
            self.all["muon"] = torch.optim.Muon(
                [{"params": blocks, "share": 1.0}], weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        self.parameters = [p for o in self.all.values() for group in o.param_groups for p in group["params"]]

    def step(self, rate: float) -> None:
        for optimizer in self.all.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.all.values():
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {name: optimizer.state_dict() for name, optimizer in self.all.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, optimizer in self.all.items():
            if name in state:
                optimizer.load_state_dict(state[name])
