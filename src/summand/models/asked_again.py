"""A decomposition that is asked again after its model was touched: the same sum still, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import SummandError
from ..towers import Trace
from ..towers.base import HeadMaps
from ..towers.precision import unmixed
from .guard import off, tolerance
from .state import Made

_ROUNDINGS = 64  # how many ε of its largest number a term may be off to count as the same


class AskedAgain:
    """What a decomposition may go on with. made: what the tower comes from; tower: the one of the model as it is now;
    said: the error of a model that was changed.

    Where the model is not as it was, its sum is checked anew, and what was answered is computed once more: where the
    terms and the heads' directions are the same numbers the change is of no matter (a hook that only looks,
    a module that no embedding uses). Where nothing was answered yet, only hooks and what stands beside the towers may
    have changed.
    """

    def __init__(self, made: Made[Any], tower: Callable[[], Any], said: str) -> None:
        self._made, self._tower, self._said = made, tower, said
        self._seen = made.state

    def __call__(
        self,
        trace: Trace | None,
        maps: HeadMaps | None,
        inputs: Tensor,
        prepared: Callable[[Any], Any],
    ) -> tuple[Any, Trace | None] | None:
        """None where the model is as it was; else the tower to ask from now on, and its trace of the inputs where there
        was one. maps: directions that were used. prepared: makes of a tower the one that is asked. Raises
        `SummandError` where the answers would be others."""
        seen = self._seen
        if seen is not None and seen.still():
            return None
        alike = seen is not None and seen.core_still()
        if not alike and trace is None:
            raise SummandError(self._said)
        try:
            tower = self._anew(inputs)
        except SummandError as error:
            raise SummandError(f"{self._said} ({error})") from error
        allowed = tolerance(inputs, tower) if alike else 0.0
        tower = prepared(tower)
        now = None if trace is None else tower.run(inputs)
        if self._made.state is seen or (now is not None and not _same(trace, now, maps, tower, allowed, inputs)):
            raise SummandError(self._said)
        self._seen = self._made.state
        return tower, now

    def _anew(self, inputs: Tensor) -> Any:
        tower = self._tower()
        for _ in range(3):  # a first pass may fill caches, which are part of the state
            if not tower.verify("sum", inputs):
                break
            tower = self._tower()
        return tower


@torch.no_grad()
def _same(then: Any, now: Trace, maps: HeadMaps | None, tower: Any, allowed: float, inputs: Tensor) -> bool:
    allowed = max(allowed, _ROUNDINGS * torch.finfo(now.values.dtype).eps)
    with unmixed(inputs.device):
        terms = ("values", "scale", "embedding", "mlps", "bias")
        found = [(getattr(now, term), getattr(then, term)) for term in terms]
        if maps is not None:
            found.append((tower.head_maps().directions, maps.directions))
    return all(one.shape == other.shape and off(one, other) <= allowed for one, other in found)
