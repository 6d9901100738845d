"""How many processes read pictures, for all that is read inside of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import SummandError

_MOST = 1024
_wanted: ContextVar[int | None] = ContextVar("workers", default=None)


@contextmanager
def workers(count: int | None) -> Iterator[None]:
    """All that is read inside is read by so many processes, 0 for none. None: as before; by default as many as fit."""
    if count is not None and count < 0:
        raise SummandError(f"--workers is a number of processes, or 0 for none, got {count}")
    if count is not None and count > _MOST:
        raise SummandError(f"--workers is at most {_MOST:,} processes, got {count:,}")
    token = _wanted.set(wanted() if count is None else count)
    try:
        yield
    finally:
        _wanted.reset(token)


def wanted() -> int | None:
    """How many were asked for; None where nobody said."""
    return _wanted.get()
