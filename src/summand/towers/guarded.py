"""Towers whose identities are checked when they are first used."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .base import Trace
from .bound import Bound


class Guarded(Bound):
    """A tower whose identities are checked when they are first used. guard: set by the model that the tower is of."""

    guard: Any = None
    recorded_batches: frozenset[int] = frozenset()
    """Sizes of batches whose pass is written down once and played back, where the tower `records`."""
    keep = "copy or pickle the summand.Model, which makes its towers anew"

    @property
    def records(self) -> bool:
        """Whether a pass can be written down."""
        return False

    def verify(self, what: Any, inputs: Tensor) -> bool:
        """Raises `SummandError` where the identity `what` does not hold for the first of the inputs. Whether it had to
        be checked, for the first time in this state of the model."""
        return self.guard is not None and self.guard(self, what, inputs)

    @property
    def always_checked(self) -> bool:
        """Whether the model holds code of others, which may do something else at every pass."""
        return self.guard is not None and self.guard.always

    def confirm(self, trace: Trace, inputs: Tensor) -> None:
        """Raises `SummandError` where the terms of this very pass do not sum to the model's embedding of these inputs;
        looked at only where the model is `always_checked`."""
        if self.guard is not None:
            self.guard.confirm(self, trace, inputs)
