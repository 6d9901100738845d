"""The guard: no sum leaves the library that does not add up to what the model itself says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from math import isfinite
from threading import get_ident
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InexactError, SummandError, listed
from ..towers.base import Trace
from ..towers.finite import broken_weights
from ..towers.listening import apart
from .findings import findings
from .foreign import holds_foreign_code
from .identities import Measured, confirmed, measure
from .made import WHILE
from .state import State

Answer = TypeVar("Answer")


class Guard:
    """Checks identities of a model in one state, each once: at the first use, and again when the state has changed.

    A model that holds code of others (hooks, patched methods, own modules: `foreign`) may do something else at every
    pass, or for some images or batches alone. Of such a model every question is checked, for all of its inputs; of
    any other one `guard(tower, what, inputs)` takes the first of the inputs (an image, or a text's tokens).

    what: "sum", the terms against the model's own embedding; ("neurons", layer), that a layer's neurons write what its
    MLP adds to the stream; ("norms", layer), that the norms in front of all later attentions do what their weights say;
    ("pairs",); and ("indirect", layer), that a stream goes on as in the model. Raises `SummandError` that says by how
    much it is off and what in the model may be the cause.
    """

    def __init__(self, clip: nn.Module, name: str, state: State) -> None:
        self._clip, self._name, self.state = clip, name, state
        self._verified: set[Any] = set()
        self._lock = threading.RLock()
        self._checking: set[int] = set()  # threads; a check makes passes of its own

    @cached_property
    def always(self) -> bool:
        """Whether every question is checked."""
        return holds_foreign_code(self.state.modules())

    def __call__(self, tower: Any, what: Any, inputs: Tensor) -> bool:
        """Whether there was something to check for the first time."""
        if get_ident() in self._checking:
            return False
        if not self.state.modes_still():
            raise SummandError(f"{self._name} {WHILE}")
        mixed = torch.is_autocast_enabled(inputs.device.type)
        key = (
            what,
            torch.get_float32_matmul_precision(),
            torch.get_autocast_dtype(inputs.device.type) if mixed else None,
            inputs.dtype,
        )
        if key in self._verified:
            if self.always and what != "sum":  # sums are confirmed by the passes that make them
                with self._at_work():
                    self._check(tower, what, inputs)
            return False
        with self._lock:
            if key in self._verified:
                return False
            looked = self.state.settled or not self._verified
            if looked and not self.state.still():
                raise SummandError(f"{self._name} {WHILE}")
            with self._at_work():
                one = inputs[:1]
                self._check(tower, what, inputs if self.always else one)
                if not self.state.still():  # two batches, for what remembers how large they were
                    if not looked:  # it may have been edited before
                        raise SummandError(f"{self._name} {WHILE}")
                    self.state.settle(lambda: (tower.encode(one), tower.encode(torch.cat([one, one]))))
                    self._check(tower, what, one)  # an edit in between is none of what passes leave behind
            self._verified.add(key)
        return True

    def confirm(self, tower: Any, trace: Trace, inputs: Tensor) -> None:
        """Where every question is checked: that the terms of this very pass sum to the model's own embedding."""
        if self.always and get_ident() not in self._checking:
            with self._at_work():
                self._refuse(confirmed(tower, trace, inputs))

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._checking.add(get_ident())
        try:
            with apart(), torch.no_grad():
                yield
        finally:
            self._checking.discard(get_ident())

    def _check(self, tower: Any, what: Any, one: Tensor) -> None:
        self._refuse(measure(tower, what, one))

    def _refuse(self, identities: Iterator[Measured]) -> None:
        for found in identities:
            if not found.holds:
                raise InexactError(self._said(found))

    def _said(self, found: Measured) -> str:
        how = f"off by {found.error:.2g}" if isfinite(found.error) else "NaN or infinite numbers"
        causes = findings(self._clip)
        if spoilt := list(broken_weights(self._clip)):
            causes = [f"weights that hold NaN or infinite numbers: {listed(spoilt, 4)}; load sound ones", *causes]
        if found.normalised:
            causes = ["its encode_image gives unit-norm embeddings; a sum needs them as they were before", *causes]
        why = "; ".join(causes) or "nothing that usually does this; please report the class of the model"
        return (
            f"{self._name} cannot be explained exactly: {found.about}: {how}, relative to the largest number "
            f"({found.allowed:.0e} is rounding). Found in the model: {why}"
        )


def verified(look: Callable[[], Any], inputs: Tensor, forget: Callable[[], None]) -> Any:
    """The tower that `look` gives, its sum checked; forget: what was made of the model."""
    return anew(lambda: _settled(look, inputs), look, forget)


def anew(work: Callable[[], Answer], look: Callable[[], Any], forget: Callable[[], None]) -> Answer:
    """What `work` gives. Where it is refused, and the model holds code of others, once more with all that is made of
    the model made anew: what a layer amounts to is read once, and code of others may have changed it since."""
    try:
        return work()
    except InexactError:
        if not look().always_checked:
            raise
        forget()
        return work()


def _settled(look: Callable[[], Any], inputs: Tensor) -> Any:
    """Looked at again behind a check: a first pass may fill caches, which are part of the state."""
    tower = look()
    for _ in range(3):
        if not tower.verify("sum", inputs):
            break
        tower = look()
    return tower
