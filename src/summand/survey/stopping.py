"""When a pass saves what it has, and how it stops: between two batches, after what was done is saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set, so that a batch is finished and saved first; a second signal stops
    at once. In the end the handlers are those of before, and that of the signal that came is called: a caller's own, be
    it to save something too, is only late; where there is none, a KeyboardInterrupt with the signal's name. A signal
    that the process ignores (SIGHUP under nohup) stays ignored. In threads, which receive no signals, nothing
    changes."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        came.append(number)
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in heard:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number in heard:
            signal.signal(number, before[number])
        if came:
            _hand_on(came[0], before[came[0]])


def _hand_on(number: int, handler: Any) -> None:
    if callable(handler):
        handler(number, None)
    else:
        raise KeyboardInterrupt(signal.Signals(number).name)


_SHARE = 20  # at most a twentieth of the time goes into saving


class Clock:
    """When to save next."""

    def __init__(self, every: float) -> None:
        self.every, self._last, self._cost = every, time.monotonic(), 0.0

    def due(self) -> bool:
        wait = max(self.every, _SHARE * self._cost) if self.every else 0.0
        return time.monotonic() - self._last >= wait

    def __enter__(self) -> None:
        self._last = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._cost, self._last = time.monotonic() - self._last, time.monotonic()


class never:
    """Nobody asks to stop: an interrupt is one."""

    def __enter__(self) -> threading.Event:
        return threading.Event()

    def __exit__(self, *error: object) -> None:
        return None
