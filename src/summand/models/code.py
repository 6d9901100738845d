"""The code that modules run, by identity: what their classes hold, and the Python modules that these are written in."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from operator import attrgetter, itemgetter
from types import CodeType, FunctionType
from typing import Any

from ..towers.settings import described
from .foreign import homes_of, of_compile
from .global_hooks import global_hooks

_BODY = attrgetter("__code__", "__defaults__", "__kwdefaults__")  # what a function runs, exchangeable within it

_UNSEEN = frozenset(
    # what Python makes in a class when it is first asked for
    (
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__slotnames__"),
        *("__doc__", "__abstractmethods__", "_abc_impl", "__static_attributes__", "__firstlineno__"),
    )
)


class Code:
    """Classes as they were seen, each with all that it inherits from: every entry of theirs, the functions of the
    Python modules that they are written in, and torch's hooks for all modules."""

    def __init__(self, kinds: Iterable[type], restless: frozenset[tuple[int, str]] = frozenset()) -> None:
        classes = {base for kind in kinds for base in kind.__mro__ if base is not object}
        self._restless = restless
        self._hooks = global_hooks()
        self.classes = {kind: self._of_class(kind) for kind in classes}
        self.functions = [
            (home, name, value)
            for home in homes_of(classes)
            for name, value in tuple(home.items())
            if callable(value) and not of_compile(name) and (id(home), name) not in restless
        ]
        written = [(name, value) for _, name, value in self.functions]
        written += [item for entries in self.classes.values() for item in entries.items()]
        self._written = _named([(name, value) for name, value in written if isinstance(value, FunctionType)])
        self._bodies = list(map(_BODY, self._written))
        self._entries = [(kind, dict(vars(kind))) for kind in classes]
        self._homes = _by_home(self.functions)

    def _of_class(self, kind: type) -> dict[str, Any]:
        found = dict(vars(kind))
        for name in _UNSEEN & found.keys():
            del found[name]
        for key, name in self._restless:
            if key == id(kind):
                found.pop(name, None)
        return found

    def still(self) -> bool:
        """Whether all is as it was; in few steps, for it is asked at every question. What cannot be compared is not."""
        with suppress(RuntimeError, ValueError, TypeError, KeyError):
            return (
                _same(self._hooks, global_hooks())
                and all(taken(home) == values for home, taken, values in self._homes)
                and list(map(_BODY, self._written)) == self._bodies
                and self._classes_still()
            )
        return False

    def _classes_still(self) -> bool:
        with suppress(RuntimeError, ValueError, TypeError):
            if all(vars(kind) == held for kind, held in self._entries):  # as they nearly always are
                return True
        if not all(_same_entries(found, self._of_class(kind)) for kind, found in self.classes.items()):
            return False
        self._entries = [(kind, dict(vars(kind))) for kind in self.classes]  # what Python has made in a class since
        return True

    def changes(self) -> set[tuple[int, str]]:
        """Where it is not."""
        found = {(id(home), name) for home, name, value in self.functions if home.get(name) is not value}
        for kind, before in self.classes.items():
            now = self._of_class(kind)
            found |= {(id(kind), name) for name in before.keys() | now.keys() if before.get(name) is not now.get(name)}
        return found


def _named(functions: list[tuple[str, FunctionType]]) -> list[FunctionType]:
    """Those among functions that a model can come to run when it is called: which Python calls by itself, which begin
    a pass, and all that are named in one of these."""
    by_name: dict[str, list[FunctionType]] = {}
    for name, function in functions:
        by_name.setdefault(name, []).append(function)
    names = {name for name in by_name if name.startswith(("__", "forward", "encode_", "get_"))}
    waiting = [function.__code__ for name in names for function in by_name[name]]
    while waiting:
        code = waiting.pop()
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
        fresh = by_name.keys() & {*code.co_names, *(each for each in code.co_consts if isinstance(each, str))} - names
        names |= fresh
        waiting += [function.__code__ for name in fresh for function in by_name[name]]
    return [function for name in names for function in by_name[name]]


def _by_home(functions: list[tuple[dict[str, Any], str, Any]]) -> list[tuple[dict[str, Any], Any, Any]]:
    """Functions of the Python modules that hold them: a module, what takes them from it, and what that gives."""
    names: dict[int, tuple[dict[str, Any], list[str]]] = {}
    for home, name, _ in functions:
        names.setdefault(id(home), (home, []))[1].append(name)
    return [(home, taken, taken(home)) for home, found in names.values() for taken in [itemgetter(*found)]]


def _same(then: list[Any], now: list[Any]) -> bool:
    return len(then) == len(now) and all(a is b for a, b in zip(then, now, strict=True))


def _same_entries(then: dict[str, Any], now: dict[str, Any]) -> bool:
    return len(then) == len(now) and all(now.get(name) is value for name, value in then.items())


def described_code(kinds: Iterable[type]) -> str:
    """What classes hold and inherit, and the functions beside them, in words that are the same in every process."""
    code = Code(kinds)
    found = [
        (kind.__module__, kind.__qualname__, *item) for kind, held in code.classes.items() for item in held.items()
    ]
    found += [(home["__name__"], "", name, value) for home, name, value in code.functions]
    return "\n".join(sorted(f"{home}.{kind}.{name}={described(value)}" for home, kind, name, value in found))
