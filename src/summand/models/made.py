"""Something that is made of a model's state, as long as the state lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

from ..errors import SummandError
from ..towers.eager import refuse_while_compiling
from .state import State, refuse_while_tracing

T = TypeVar("T")
Answer = TypeVar("Answer")

SINCE = "was changed after it was decomposed and before this question was answered; decompose again"
WHILE = (
    "was changed while this question was being answered (by another thread, or by a hook in the pass), so the answer "
    "is of no one model; ask again when nothing changes it"
)


class Made(Generic[T]):
    """Something that is made of a model's state, and made anew where the state has changed. Threads may share it.

    see: the model's state as it is now; make: what is made of it, given the state; of: what it is the state of, for
    errors.
    """

    def __init__(self, see: Callable[[], State], make: Callable[[State], T], of: str) -> None:
        self._see, self._make, self.of = see, make, of
        self._lock = threading.RLock()
        self._taken = threading.local()
        self._found: tuple[State, T] | None = None

    @property
    def last(self) -> tuple[State, T] | None:
        """The state that was seen last, and the thing; whether it still is the state is not looked at."""
        return self._found

    def current(self) -> T:
        """The thing, of the state as it is now."""
        return self.seen()[1]

    def seen(self) -> tuple[State, T]:
        """The state as it is now, and the thing."""
        refuse_while_compiling()
        refuse_while_tracing()
        found = self._found
        if found is not None and self.holds(found[0]):
            return found
        with self._lock:
            if self._found is None or self._found is found or not self._found[0].still():
                self._found = None
                state = self._see()
                self._found = (state, self._make(state))
            return self._found

    def unchanged(self, state: State, said: str) -> Callable[[], None]:
        """Raises `SummandError` with these words where this is no longer the state. What was made of it is then
        forgotten: some of it may have been made of what came later."""

        def check() -> None:
            if not self.holds(state):
                self._drop(state)
                raise SummandError(f"{self.of} {said}")

        return check

    def holds(self, state: State) -> bool:
        """Whether the model is still in this state, or is taken to be."""
        return self._is_taken(state) or state.still()

    def _is_taken(self, state: State) -> bool:
        return any(each is state for each in getattr(self._taken, "states", ()))

    @contextmanager
    def as_it_is(self) -> Iterator[None]:
        """The state is looked at now and when this is left, and, in this thread, not in between."""
        state, _ = self.seen()
        with self._taking(state):
            yield
        self.unchanged(state, WHILE)()

    def at_once(self, work: Callable[[], Answer]) -> Answer:
        """What `work` gives, in one look, behind it: meanwhile, in this thread, the state is taken to be the one that
        was seen last. Where it was another, `work` is done again, between two looks."""
        found = self._found
        if found is not None and self._is_taken(found[0]):
            return work()
        if found is not None:
            answer, error = None, None
            try:
                with self._taking(found[0]):
                    answer = work()
            except Exception as raised:  # of a model that is another one by now, or an error all the same
                error = raised
            if found[0].still():
                if error is not None:
                    raise error
                return cast(Answer, answer)
            self._drop(found[0])
        with self.as_it_is():
            return work()

    def kept(self, state: State) -> bool:
        """`holds`, asked behind what was done as if it did. What was made of the state is forgotten where it does not
        hold: some of it may have been made of what came later."""
        if self.holds(state):
            return True
        self._drop(state)
        return False

    def _drop(self, state: State) -> None:
        state.spoil()
        with self._lock:
            if self._found is not None and self._found[0] is state:
                self._found = None

    @contextmanager
    def _taking(self, state: State) -> Iterator[None]:
        outer: tuple[State, ...] = getattr(self._taken, "states", ())
        self._taken.states = (*outer, state)
        try:
            yield
        finally:
            self._taken.states = outer

    def forget(self) -> None:
        """Make it anew at the next use, whatever the state is."""
        with self._lock:
            self._found = None
