"""Questions to a model that may change between them: answered of the model that was decomposed, or refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from threading import get_ident
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from torch import Tensor

from ..errors import InexactError
from ..towers import Trace
from ..towers.base import HeadMaps, Summed
from ..towers.bound import Bound
from ..towers.precision import unmixed
from ..towers.view import Visit


@runtime_checkable
class Asked(Protocol):
    """What says whether a model is as it was."""

    def before(
        self, trace: Trace | None, maps: HeadMaps | None, inputs: Tensor, prepared: Callable[[Any], Any]
    ) -> tuple[Any, Trace | None] | None: ...

    def anew(self, inputs: Tensor, prepared: Callable[[Any], Any]) -> Any: ...

    def behind(self) -> None: ...

    def held(self) -> bool: ...


Question = TypeVar("Question", bound=Callable[..., Any])


def question(method: Question) -> Question:
    """A question to what is `Questioned`, answered only where the model still is what it was when the answer is there;
    asked by another question it is not looked at again. A question without an answer leaves nothing behind.

    One look, behind the answer, where nothing has changed; else the question is asked again between two."""

    @wraps(method)
    def asked(self: Questioned, *args: Any, **kwargs: Any) -> Any:
        me = get_ident()
        if me in self._answering:
            return method(self, *args, **kwargs)
        self._answering.add(me)
        try:
            if (found := self._at_once(lambda: method(self, *args, **kwargs))) is not None:
                return found[0]
            self._look_again()
            kept = self._trace
            try:
                answer = method(self, *args, **kwargs)
            except InexactError:
                if kept is not None or not self._anew():
                    raise
                answer = method(self, *args, **kwargs)
            if kept is not None:  # an answer of an earlier pass, which another thread may have forgotten meanwhile
                self._tower.confirm(kept, self._pixels)
            self._look_behind()
            return answer
        except Exception:
            self._forget()
            self._look_behind()  # the likelier cause
            raise
        finally:
            self._answering.discard(me)

    return cast(Question, asked)


class Questioned(Bound):
    """A tower and inputs, of which one pass is made when the first question needs it.

    tower: a snapshot of the model; pixels: a copy that nobody else writes to. asked: looks before and behind
    every question whether the model still is the one that was decomposed (`models.asked_again`). begun: a pass that the
    tower has begun with these inputs, which the first question goes on with.
    """

    def __init__(
        self,
        tower: Summed,
        pixels: Tensor,
        encode: Callable[[Tensor], Tensor],
        asked: Asked | None = None,
        begun: Any = None,
    ) -> None:
        self._tower: Summed = self._split(tower)
        self._begun = [] if begun is None else [begun]  # whichever thread takes it out has it
        self._pixels, self._encode = pixels, encode
        self._trace: Trace | None = None
        self._asked = asked
        self._answering: set[int] = set()  # threads

    def _split(self, tower: Any) -> Any:
        """The tower as it is asked."""
        return tower

    def _at_once(self, ask: Callable[[], Any]) -> tuple[Any] | None:
        """The answer of the model as it was, or its error; None where it is not what it was any more, or may do
        something else at every pass."""
        if self._asked is None or self._tower.always_checked:
            return None
        trace, maps = self._trace, self.__dict__.get("_maps")
        error: Exception | None = None
        answer = None
        try:
            answer = ask()
        except Exception as raised:
            error = raised
        if self._asked.held():
            if error is None:
                return (answer,)
            self._forget()
            raise error
        self._forget()
        self._trace = trace
        if maps is not None:
            self.__dict__["_maps"] = maps
        return None

    def _look_again(self) -> None:
        """Goes on with the model as it is now. Raises `SummandError` where that is another one."""
        maps = self.__dict__.get("_maps")
        found = None if self._asked is None else self._asked.before(self._trace, maps, self._pixels, self._split)
        if found is not None:
            self._tower, self._trace = found
            self._encode = self._tower.encode
            self.__dict__.pop("_maps", None)

    def _anew(self) -> bool:
        """Goes on with a tower that is made anew of the model, where that may be another one."""
        self._forget()
        tower = None if self._asked is None else self._asked.anew(self._pixels, self._split)
        if tower is not None:
            self._tower, self._encode = tower, tower.encode
        return tower is not None

    def _look_behind(self) -> None:
        """Raises `SummandError` where the model was changed while it was asked."""
        if self._asked is not None:
            self._asked.behind()

    @property
    @question
    def trace(self) -> Trace:
        """What the pass left, a copy."""
        return self._passed.copied()

    @property
    def _passed(self) -> Trace:
        if self._trace is None:
            self._trace = self._run()
        return self._trace

    def _run(self, visit: Visit | None = None) -> Trace:
        """One pass, or the rest of the one that was begun."""
        try:
            begun = self._begun.pop()
        except IndexError:
            return self._tower.run(self._pixels, visit)
        return begun.run(self._tower, self._pixels, visit)

    def share(self, trace: Trace) -> None:
        """Use a pass that was made of the same images for something else, instead of making one."""
        self._begun.clear()
        self._trace = trace.copied()

    def _forget(self) -> None:
        self._begun.clear()
        self._trace = None
        self.__dict__.pop("_maps", None)

    @cached_property
    def _maps(self) -> HeadMaps:
        with unmixed(self._pixels.device):
            return self._tower.head_maps()
