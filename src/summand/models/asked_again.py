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
from .guard import verified
from .identities import off, tolerance
from .made import SINCE, Made
from .state import State

_ROUNDINGS = 64  # how many ε of its largest number a term may be off to count as the same


class AskedAgain:
    """What a decomposition may go on with. made: what its tower comes from; tower: gives the one of the model as it is
    now; state: that of the model when it was decomposed.

    Where the model is not as it was, its sum is checked anew, and what was answered is computed once more: where the
    terms and the heads' directions are the same numbers the change is of no matter (a hook that only looks,
    a module that no embedding uses). Where nothing was answered yet, only hooks and what stands beside the towers may
    have changed.
    """

    def __init__(self, made: Made[Any], tower: Callable[[], Any], state: State) -> None:
        self._made, self._tower, self._seen = made, tower, state

    def before(
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
        if self._made.holds(seen):
            return None
        said = f"{self._made.of} {SINCE}"
        alike = seen.core_still()
        if not alike and trace is None:
            raise SummandError(said)
        try:
            tower = verified(self._tower, inputs, self._made.forget)
        except SummandError as error:
            raise SummandError(f"{said} ({error})") from error
        allowed = tolerance(inputs, tower) if alike else 0.0
        state, tower = tower.guard.state, prepared(tower)
        now = None if trace is None else tower.run(inputs)
        if state is seen or (now is not None and not _same(trace, now, maps, tower, allowed, inputs)):
            raise SummandError(said)
        self._seen = state
        return tower, now

    def anew(self, inputs: Tensor, prepared: Callable[[Any], Any]) -> Any:
        """The tower to ask from now on, where what the one before was made of is no longer how the model acts. None
        where the model holds no code of others, which alone can do this unseen."""
        if not self._tower().always_checked:
            return None
        self._made.forget()
        tower = verified(self._tower, inputs, self._made.forget)
        self._seen = tower.guard.state
        return prepared(tower)

    def held(self) -> bool:
        """Whether the model still is what it was, asked behind an answer that was given as if it were."""
        return self._made.kept(self._seen)

    def behind(self) -> None:
        """Raises `SummandError` where the model is no longer what it was when the question was asked."""
        self._made.unchanged(self._seen, SINCE)()


@torch.no_grad()
def _same(then: Any, now: Trace, maps: HeadMaps | None, tower: Any, allowed: float, inputs: Tensor) -> bool:
    allowed = max(allowed, _ROUNDINGS * torch.finfo(now.values.dtype).eps)
    with unmixed(inputs.device):
        terms = ("values", "scale", "embedding", "mlps", "bias")
        found = [(getattr(now, term), getattr(then, term)) for term in terms]
        if maps is not None:
            found.append((tower.head_maps().kept, maps.kept))
    return all(one.shape == other.shape and off(one, other) <= allowed for one, other in found)
