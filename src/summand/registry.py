"""What rooms outside bring to the rooms inside: sources, pools, models, by name.

The rooms inside know no room outside. What one of these brings, it adds to a `Registry` in a module that is named
here and imported when something is first looked up. Names of modules, and not entry points of the installed
distribution, since these are found only where one is installed: a source tree on the path would have no scenes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

T = TypeVar("T")

FILLED_BY: dict[str, tuple[str, ...]] = {
    "data": ("summand.scenes.as_data",),
    "text": ("summand.scenes.as_text",),
    "models": ("summand.scenes.as_models",),
}
"""Room → the modules that bring something to it."""


class Registry(Mapping[str, T]):
    """Things by name, in the order in which they were added; looked up, it first has its room filled."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> None:
        """One more, or another one of the same name."""
        self._things[name] = thing

    def _filled(self) -> dict[str, T]:
        for module in FILLED_BY[self._room]:
            import_module(module)
        return self._things

    def __getitem__(self, name: str) -> T:
        return self._filled()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._filled()))

    def __len__(self) -> int:
        return len(self._filled())
