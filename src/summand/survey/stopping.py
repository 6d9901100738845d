"""Stopping between two batches: what was done is saved before the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set, so that a batch is finished and saved first; a second signal stops
    at once. A signal that the process ignores (SIGHUP under nohup) stays ignored. In threads, which receive no signals,
    nothing changes."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, frame: object) -> None:
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


@contextmanager
def never() -> Iterator[threading.Event]:
    """Nobody asks to stop: an interrupt is one."""
    yield threading.Event()
