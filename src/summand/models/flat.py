"""A second look at modules that were taken apart before: whether they hold the very same objects in the same places."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
from torch import Tensor, nn

from .marks import PLAIN

_DICTS = frozenset((dict, OrderedDict))
_LISTS = frozenset((list, set, frozenset))
_WITHIN = (dict, list, set, frozenset, np.ndarray, bytearray)  # may change within themselves

_Contents = tuple[list[int], list[Any]]


class Flat:
    """What modules hold, listed without being taken apart: their classes, their attributes, and what stands in the
    dicts, lists, tuples and sets among these, all by identity. Whatever is not one of those, a tensor or a module is
    looked at by identity alone (`marks.note`), so where this is the same, so are a look's marks and its tensors.

    unseen: attributes in which nothing is looked for; restless: (module's id, attribute) that are left out.
    """

    def __init__(self, modules: Sequence[nn.Module], unseen: frozenset[str], restless: set[tuple[int, str]]) -> None:
        self._modules = modules
        names: dict[int, set[str]] = {}
        for key, name in restless:
            names.setdefault(key, set()).add(name)
        self._filtered = [(index, names[id(module)]) for index, module in enumerate(modules) if id(module) in names]
        self._kinds = list(map(type, modules))
        self._forwards = {kind: kind.forward for kind in self._kinds}
        own = self._own()
        self._attributes = list(map(dict, own))
        dicts, self._lists = _holders(
            value for held in own for name, value in tuple(held.items()) if name not in unseen
        )
        self._empty, self._dicts = [held for held in dicts if not held], [held for held in dicts if held]
        self._entries, self._items = _contents(self._dicts), _contents(self._lists)

    def _own(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = list(map(vars, self._modules))
        for index, names in self._filtered:
            found[index] = {key: value for key, value in tuple(found[index].items()) if key not in names}
        return found

    def still(self) -> bool:
        """Whether all is the same. Attributes by identity or by value, which for what is not the very same object is
        compared anew at every look; what cannot be compared so is not the same."""
        with suppress(RuntimeError, ValueError, TypeError):  # changed while it was listed; arrays
            return (
                list(map(type, self._modules)) == self._kinds
                and all(kind.forward is forward for kind, forward in self._forwards.items())
                and not any(self._empty)
                and self._own() == self._attributes
                and _alike(_contents(self._dicts), self._entries)
                and _alike(_contents(self._lists), self._items)
            )
        return False


def flat(modules: Sequence[nn.Module], unseen: frozenset[str], restless: set[tuple[int, str]]) -> Flat | None:
    """None where something among what the modules hold can only be taken apart."""
    with suppress(TypeError, RuntimeError):
        return Flat(modules, unseen, restless)
    return None


def as_long_as_below(root: nn.Module, work: Callable[[], list[nn.Module]]) -> Callable[[], list[nn.Module]]:
    """Gives what `work` gave, as long as the modules below `root` are the same ones in the same places."""
    known: tuple[list[nn.Module], list[Any], list[Any], list[nn.Module]] | None = None

    def asked() -> list[nn.Module]:
        nonlocal known
        found = known
        if found is not None:
            modules, dicts, contents, answer = found
            with suppress(RuntimeError):  # changed while it was listed
                if _same(_children(modules), dicts) and dicts == contents:
                    return answer
        modules = list(root.modules())
        dicts = _children(modules)
        listed = all(type(each) in _DICTS for each in dicts)  # not so in scripted modules
        contents = list(map(dict, dicts)) if listed else None
        answer = work()
        known = None if contents is None else (modules, dicts, contents, answer)
        return answer

    return asked


def _children(modules: list[nn.Module]) -> list[Any]:
    return [vars(module).get("_modules") for module in modules]


def _holders(values: Iterable[Any]) -> tuple[list[dict[Any, Any]], list[Any]]:
    """The dicts among these values and in one another, and the lists, tuples and sets. Raises `TypeError` where there
    is anything else that may change within itself."""
    dicts: list[dict[Any, Any]] = []
    lists: list[Any] = []
    seen: set[int] = set()
    waiting = [values]
    while waiting:
        for value in waiting.pop():
            kind = type(value)
            if kind in PLAIN or id(value) in seen or isinstance(value, (Tensor, nn.Module)):
                continue
            if kind in _DICTS:
                dicts.append(value)
                waiting.append(tuple(value.values()))
            elif kind in _LISTS or isinstance(value, tuple):
                lists.append(value)
                waiting.append(tuple(value))
            elif isinstance(value, _WITHIN):
                raise TypeError(f"{kind.__name__} in a module")
            else:
                continue
            seen.add(id(value))
    return dicts, lists


def _contents(holders: list[Any]) -> _Contents:
    """How many each holds, and what: of a dict its keys and its values."""
    values = [held.values() for held in holders if isinstance(held, dict)]
    return list(map(len, holders)), [*chain.from_iterable(holders), *chain.from_iterable(values)]


def _alike(now: _Contents, then: _Contents) -> bool:
    return now[0] == then[0] and _same(now[1], then[1])


def _same(now: list[Any], then: list[Any]) -> bool:
    return len(now) == len(then) and all(map(is_, now, then))
