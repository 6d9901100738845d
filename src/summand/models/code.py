"""The code that modules run, by identity: what their classes hold, and the Python modules that these are written in."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType
from typing import Any

from ..towers.settings import described
from .foreign import homes_of, of_compile
from .global_hooks import global_hooks

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
        written = [value for _, _, value in self.functions]
        written += [value for entries in self.classes.values() for value in entries.values()]
        self._bodies = [  # what a function runs, which can be exchanged within it
            (value, value.__code__, value.__defaults__, value.__kwdefaults__)
            for value in written
            if isinstance(value, FunctionType)
        ]

    def _of_class(self, kind: type) -> dict[str, Any]:
        found = dict(vars(kind))
        for name in _UNSEEN & found.keys():
            del found[name]
        for key, name in self._restless:
            if key == id(kind):
                found.pop(name, None)
        return found

    def still(self) -> bool:
        """Whether all is as it was."""
        return (
            _same(self._hooks, global_hooks())
            and all(_same_entries(found, self._of_class(kind)) for kind, found in self.classes.items())
            and all(home.get(name) is value for home, name, value in self.functions)
            and all(
                value.__code__ is code and value.__defaults__ is defaults and value.__kwdefaults__ is by_name
                for value, code, defaults, by_name in self._bodies
            )
        )

    def changes(self) -> set[tuple[int, str]]:
        """Where it is not."""
        found = {(id(home), name) for home, name, value in self.functions if home.get(name) is not value}
        for kind, before in self.classes.items():
            now = self._of_class(kind)
            found |= {(id(kind), name) for name in before.keys() | now.keys() if before.get(name) is not now.get(name)}
        return found


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
