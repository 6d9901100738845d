"""How far a long piece of work is, on stderr: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

from tqdm import tqdm

EVERY = 60.0
"""Seconds between two lines where stderr is no terminal."""
QUICK = 2.0
"""Seconds under which nothing is shown on a terminal."""
_HUSHED: ContextVar[bool] = ContextVar("hushed", default=False)


@contextmanager
def hushed(progress: bool | None) -> Iterator[None]:
    """Within it nothing says how far it is where progress is False; None and True change nothing."""
    before = _HUSHED.set(_HUSHED.get() or progress is False)
    try:
        yield
    finally:
        _HUSHED.reset(before)


def is_shown(progress: bool | None) -> bool:
    """Whether work that was asked for with this `progress` may say how far it is.

    >>> with hushed(False):
    ...     is_shown(None), is_shown(True)
    (False, False)
    >>> is_shown(None), is_shown(False)
    (True, False)
    """
    return progress is not False and not _HUSHED.get()


class Progress:
    """`with Progress("survey", 5000, "images") as bar:` … `bar.update(64)`.

    On a terminal a bar; else, once a minute, "survey: 1,200 of 5,000 images, 38 a second, 1 min 40 s left". shown:
    False says nothing at all. done: what an earlier run has behind it.
    """

    def __init__(self, what: str, total: int, unit: str = "images", shown: bool | None = None, done: int = 0) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._name, self._first, self._shown, self._said = what, done, is_shown(shown), False
        self._began = self._last = time.monotonic()
        self._bar: tqdm | None = None

    def __enter__(self) -> Progress:
        self._began = self._last = time.monotonic()
        if self._shown and sys.stderr.isatty():
            self._bar = tqdm(
                **{"total": self.total, "initial": self.done, "desc": self.what, "unit": f" {self.unit}"},
                **{"file": sys.stderr, "leave": False, "dynamic_ncols": True, "delay": QUICK},
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._said and kind is None:
            self.what = self._name
            self._say(f"in {duration(time.monotonic() - self._began)}")

    @property
    def name(self) -> str:
        """What the whole of it is called."""
        return self._name

    def begin(self, done: int) -> None:
        """So much of it was done before, by an earlier run."""
        self.done = self._first = done

    def stage(self, what: str) -> None:
        """What is done from now on."""
        self.what = what
        if self._bar is not None:
            self._bar.set_description(what)

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._shown and (now := time.monotonic()) - self._last >= EVERY:
            self._last, self._said = now, True
            speed = (self.done - self._first) / max(now - self._began, 1e-9)
            left = duration((self.total - self.done) / speed) if speed > 0 else "unknown time"
            self._say(
                f"{speed:,.0f} a second, {left} left" if speed >= 1 else f"{60 * speed:.1f} a minute, {left} left"
            )

    def _say(self, more: str) -> None:
        print(f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {more}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """
    >>> duration(100), duration(5), duration(3 * 3600 + 120)
    ('1 min 40 s', '5 s', '3 h 2 min')
    """
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
