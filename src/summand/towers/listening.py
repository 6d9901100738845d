"""Hooks that watch one pass of a model, in the thread that makes it, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import islice
from typing import Any

from torch import Tensor, nn

from .eager import eagerly, exporting
from .precision import unmixed


class _Enough(Exception):
    """Everything that is needed has been seen; leave the forward pass."""


def enough() -> None:
    """Leave the pass. One that is traced for an export goes on: what nobody reads falls out of its graph."""
    if not exporting():
        raise _Enough


def _has_ended(error: BaseException | None) -> bool:
    """Whether this is how a pass was left that had seen enough. On the way out torch goes through the hooks of every
    module, and says that they were changed where another thread sets or takes off one of its own meanwhile."""
    while error is not None and not isinstance(error, _Enough):
        error = error.__context__
    return error is not None


class _Frame:
    """Listeners that watch the same pass. depth: of the root modules that are being computed now; parts: whether parts
    of blocks are being called in their place; outside: how many groups listen to more than the parts of blocks."""

    def __init__(self) -> None:
        self.depth = self.parts = self.outside = 0


class _Stack(threading.local):
    """The passes that this thread is making, the innermost last."""

    def __init__(self) -> None:
        self.frames: list[_Frame] = []


_under_way = _Stack()
_registry = threading.Lock()  # torch numbers hooks by a counter that is not safe to share


class PassHook:
    """A hook of ours. It acts in the pass that set it: not in another thread's, not in one that the user's own hooks
    begin within ours. Called with or without keyword arguments, as another thread may take it off at any moment."""

    def __init__(self, frame: _Frame, function: Callable[..., Any]) -> None:
        self._frame, self._function = frame, function

    def __call__(self, module: nn.Module, *given: Any) -> Any:
        frames = _under_way.frames
        return self._function(*given) if frames and frames[-1] is self._frame else None

    def __reduce__(self) -> tuple[Any, ...]:
        """A model that is copied or pickled while a pass is under way takes no part of that pass with it."""
        return _Nothing, ()


class _Nothing(PassHook):
    """What is left of a hook in a copy."""

    def __init__(self) -> None:
        pass

    def __call__(self, module: nn.Module, *given: Any) -> None:
        pass


Listener = tuple[nn.Module, str, Callable[..., Any]]


def entries(given: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """What a dict holds now, while another thread may add to it or take from it."""
    while True:
        with suppress(RuntimeError):  # changed while it was listed
            return list(given.items())


def hooks_of(module: nn.Module) -> list[Any]:
    """The forward hooks and pre-hooks of a module that are not ours."""
    given = vars(module)
    found = [*entries(given.get("_forward_hooks", {})), *entries(given.get("_forward_pre_hooks", {}))]
    return [hook for _, hook in found if not isinstance(hook, PassHook)]


def first_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a module reads, by place or by name."""
    return args[0] if args else next(iter(kwargs.values()))


@contextmanager
def apart() -> Iterator[None]:
    """What is computed here belongs to none of the passes that are being watched."""
    frame = _Frame()
    _under_way.frames.append(frame)
    try:
        yield
    finally:
        _under_way.frames.remove(frame)


def watched() -> bool:
    """Whether somebody listens in this thread."""
    return bool(_under_way.frames)


def listened() -> bool:
    """Whether somebody listens to more than the parts of blocks in the pass that this thread makes."""
    frames = _under_way.frames
    return bool(frames) and frames[-1].outside > 0


def one_pass() -> AbstractContextManager[None]:
    """All that is computed here belongs to one pass: the one that is being watched, or a new one where it is begun in
    the middle of another, by a hook of the user's."""
    frames = _under_way.frames
    return nullcontext() if frames and not frames[-1].depth + frames[-1].parts else apart()


@contextmanager
def by_parts() -> Iterator[None]:
    """What is called here are parts of the pass, whose root is entered within them by another pass alone."""
    with one_pass():
        frame = _under_way.frames[-1]
        frame.parts = 1
        try:
            yield
        finally:
            frame.parts = 0


@contextmanager
def listening(
    listeners: Iterable[Listener], root: nn.Module | None = None, ahead: int | None = None, within: bool = False
) -> Iterator[None]:
    """Attach hooks for the duration of a pass and always detach them.

    A listener is (module, when, function). "before" gets the module's first argument and its keyword arguments, "after"
    its output, "across" its first argument and its output, "call" all its arguments and keyword arguments; "replace"
    gets its first argument and gives another one in its place. A listener may raise `_Enough` to end the pass early.
    root: the module whose forward the pass is; where it is entered again within itself the listeners are silent.
    Autocast, where the pass runs under it, is off for the listeners; what is compiled runs module by module. ahead: for
    listeners in the order in which they are called, all of them: only so many are attached before the pass begins, and
    as many more whenever the first of those is called that were attached last but one, so that a GPU has its first work
    sooner. within: they listen to parts of blocks alone (norms, attentions, MLPs and what these are made of), so that
    they also hear a pass that is made by calling these (`walk`).
    """
    with eagerly(), one_pass(), _listening(listeners, root, ahead, within):
        yield


@contextmanager
def _listening(
    listeners: Iterable[Listener], root: nn.Module | None, ahead: int | None, within: bool
) -> Iterator[None]:
    frame = _under_way.frames[-1]
    inside = called = 0
    handles: list[Any] = []
    waiting = iter(listeners)

    def heard() -> bool:
        return inside + frame.parts <= 1

    def before(function: Callable[..., Any]) -> PassHook:
        def hook(args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
            if heard():
                more()
                kwargs = kwargs or {}
                first = first_of(args, kwargs)
                with unmixed(first.device):
                    function(first, kwargs)

        return PassHook(frame, hook)

    def call(function: Callable[..., Any]) -> PassHook:
        def hook(args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
            if heard():
                more()
                function(args, kwargs or {})

        return PassHook(frame, hook)

    def replace(function: Callable[..., Any]) -> PassHook:
        def hook(args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not heard():
                return None
            more()
            return function(args[0]), *args[1:]

        return PassHook(frame, hook)

    def after(function: Callable[..., Any], given: bool) -> PassHook:
        def hook(args: tuple[Any, ...], output: Any) -> None:
            if heard():
                more()
                first = output if isinstance(output, Tensor) else output[0]
                with unmixed(first.device):
                    function(*args[:1], first) if given else function(first)

        return PassHook(frame, hook)

    def attach(module: nn.Module, when: str, function: Callable[..., Any]) -> Any:
        if when in ("after", "across"):
            return module.register_forward_hook(after(function, given=when == "across"))
        if when == "replace":
            return module.register_forward_pre_hook(replace(function))
        return module.register_forward_pre_hook((call if when == "call" else before)(function), with_kwargs=True)

    def more() -> None:
        nonlocal called
        if ahead is not None:
            called += 1
            if called % ahead == 1:
                with _registry:
                    handles.extend(attach(*listener) for listener in islice(waiting, ahead))

    def count(by: int) -> PassHook:
        def hook(*_: Any) -> None:
            nonlocal inside
            inside, frame.depth = inside + by, frame.depth + by

        return PassHook(frame, hook)

    frame.outside += not within
    try:
        with _registry:
            if root is not None:
                handles.append(root.register_forward_pre_hook(count(1)))
                handles.append(root.register_forward_hook(count(-1), always_call=True))
            handles.extend(attach(*listener) for listener in islice(waiting, ahead))
        try:
            yield
        except (_Enough, RuntimeError) as error:
            if not _has_ended(error):
                raise
    finally:
        frame.outside -= not within
        frame.depth -= inside  # left by an interrupt
        with _registry:
            for handle in handles:
                handle.remove()
