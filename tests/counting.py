"""Counts what a model really reads, without a hook, a class or a method of ours in it, which the guard would see."""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode


class Texts(TorchFunctionMode):
    """How many texts go through an embedding of tokens while this is entered."""

    seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.embedding:
            self.seen += len(args[0])
        return function(*args, **(kwargs or {}))


class Read(TorchFunctionMode):
    """The shape of what every linear layer with one of these weights reads."""

    def __init__(self, weights: list[torch.Tensor]) -> None:
        super().__init__()
        self.weights = {id(weight) for weight in weights}
        self.shapes: list[tuple[int, ...]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.linear and id(args[1]) in self.weights:
            self.shapes.append(tuple(args[0].shape))
        return function(*args, **(kwargs or {}))


class Passes(TorchFunctionMode):
    """The batch of every pass that begins with a convolution over `channels` channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.batches: list[int] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") == "conv2d" and args[0].shape[1] == self.channels:
            self.batches.append(len(args[0]))
        return function(*args, **(kwargs or {}))
