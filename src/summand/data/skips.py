"""Pictures that could not be read, wherever in a command: so that each is named in the end, whoever left it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    name: str
    reason: str


_heard: ContextVar[dict[str, str] | None] = ContextVar("skipped", default=None)


@contextmanager
def heard() -> Iterator[dict[str, str]]:
    """Name → reason, of all that is skipped inside, each once.

    >>> with heard() as skipped:
    ...     note([Skipped("a.png", "no picture"), Skipped("a.png", "again")])
    >>> skipped
    {'a.png': 'no picture'}
    """
    found: dict[str, str] = {}
    token = _heard.set(found)
    try:
        yield found
    finally:
        _heard.reset(token)


def note(skipped: Iterable[Skipped]) -> None:
    """These were skipped."""
    found = _heard.get()
    if found is not None:
        for item in skipped:
            found.setdefault(item.name, item.reason)


def skip(skipped: list[Skipped], name: str, error: OSError) -> None:
    """Add a picture to those that were skipped, with the reason."""
    item = Skipped(name, str(error) or type(error).__name__)
    skipped.append(item)
    note([item])
