"""Weights of a model in half precision, in working precision, made once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .base import working


class Widened:
    """`working` of weights, each kept for as long as the weight lies where it lies and torch counts no edit of it. Part
    of a tower, which is made anew where the model is in another state, so that no edit past torch's count is missed.

    Without gradients with respect to the weights.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[Any, ...], Tensor, Tensor]] = {}

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        """name: the weight's, for the next one of it to take its place."""
        if weight.dtype in (torch.float32, torch.float64) or type(weight) not in (Tensor, nn.Parameter):
            return working(weight)
        where = _where(weight)
        kept = self._kept.get(name)
        if kept is None or kept[0] != where:
            with torch.inference_mode(False), torch.no_grad():
                kept = where, weight, working(weight.detach())  # held, so that its address is given to no other
            self._kept[name] = kept
        return kept[2]

    def of(self, name: str, weight: Tensor | None) -> Tensor | None:
        """The same of a weight that may not be there."""
        return None if weight is None else self(name, weight)


def _where(weight: Tensor) -> tuple[Any, ...]:
    version = 0 if weight.is_inference() else weight._version
    return address(weight), version, weight.dtype, weight.device, weight.shape, weight.stride()


def address(tensor: Tensor) -> int:
    """Where it lies; 0 for one that is only traced, while a model is exported, and lies nowhere."""
    try:
        return tensor.data_ptr()
    except RuntimeError:
        return 0
