"""Something that is made of a model's state, as long as the state lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from ..errors import SummandError
from .state import State

T = TypeVar("T")


class Made(Generic[T]):
    """Something that is made of a model's state, and made anew where the state has changed. Threads may share it.

    see: the model's state as it is now; make: what is made of it, given the state.
    """

    def __init__(self, see: Callable[[], State], make: Callable[[State], T]) -> None:
        self._see, self._make = see, make
        self._lock = threading.RLock()
        self._taken = threading.local()
        self._found: tuple[State, T] | None = None

    def current(self) -> T:
        """The thing, of the state as it is now."""
        found = self._found
        if found is not None and (getattr(self._taken, "depth", 0) or found[0].still()):
            return found[1]
        with self._lock:
            if self._found is None or self._found is found or not self._found[0].still():
                self._found = None
                state = self._see()
                self._found = (state, self._make(state))
            return self._found[1]

    def unchanged(self, said: str) -> Callable[[], None]:
        """Raises `SummandError` with these words where the state is no longer the one that was seen last."""
        found = self._found

        def check() -> None:
            if found is None or not found[0].still():
                raise SummandError(said)

        return check

    @contextmanager
    def as_it_is(self) -> Iterator[None]:
        """The state is looked at now and, in this thread, not again in here."""
        self.current()
        self._taken.depth = getattr(self._taken, "depth", 0) + 1
        try:
            yield
        finally:
            self._taken.depth -= 1

    def forget(self) -> None:
        """Make it anew at the next use, whatever the state is."""
        with self._lock:
            self._found = None
