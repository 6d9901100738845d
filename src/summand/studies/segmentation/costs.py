"""What methods cost on the same pictures, in passes of the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...maps.baselines.capture import Capture
from ...maps.methods import MapMethod
from ...models import Model

_Found = TypeVar("_Found", Tensor, Capture)
_SHARED = "shared pass"


class Costs:
    """Seconds by name, of methods and of `encode_image`; and the one pass that some of the methods share."""

    def __init__(self, model: Model, methods: Sequence[MapMethod]) -> None:
        self.model, self.seconds = model, dict[str, float]()
        self.sharing = {method.name: method.reads for method in methods if method.reads is not None}

    def time(self, name: str, work: Callable[..., _Found], *given: Any) -> _Found:
        """What `work` gives, its seconds counted."""
        started = time.perf_counter()
        found = work(*given)
        output = found.output if isinstance(found, Capture) else found
        if output.is_cuda:
            torch.cuda.synchronize(output.device)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        return found

    def of(self, name: str) -> float:
        """How often the model could have embedded the pictures meanwhile."""
        shared = self.seconds.get(_SHARED, 0.0) if name in self.sharing else 0.0
        return (self.seconds[name] + shared) / self.seconds["encode_image"]

    def shared(self, pixels: Tensor) -> Capture | None:
        """The one pass of all methods that can share it, where there are two or more."""
        if len(self.sharing) < 2:
            return None
        recorded = [reads % self.model.tower.layers for reads in self.sharing.values() if isinstance(reads, int)]
        return self.time(_SHARED, Capture, self.model, pixels, min(recorded, default=None))
