"""What a machine may lack or ask: no room, no permission, no memory, an end; and what its user can do about it."""

from __future__ import annotations

import errno
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REMEDIES = {
    errno.EACCES: "choose a place that you may use",
    errno.EPERM: "choose a place that you may use",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "make room, or choose another place",
    errno.EFBIG: "choose a place that takes larger files",
    errno.EIO: "the disk or the network drive failed; choose another place",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name",
    errno.EISDIR: "name a file, not a folder",
    errno.EEXIST: "choose another name",
}
"""Errors of the system that are no fault of ours → what to do."""

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "unable to allocate")


def remedy_of(error: OSError) -> str | None:
    """What to do about an error of the system; None where it may be a fault of ours.

    >>> remedy_of(OSError(errno.ENOSPC, "No space left on device"))
    'make room, or choose another place'
    """
    return REMEDIES.get(error.errno) if error.errno is not None else None


def room_or_place(error: OSError) -> str:
    """What to do where a place was chosen, and its work is not to be lost.

    >>> room_or_place(OSError(errno.EROFS, "Read-only file system"))
    'see that it can be written to'
    """
    return (
        "make room"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None)
        else "see that it can be written to"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """torch raises RuntimeErrors, of a type of their own on a GPU; numpy a MemoryError."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or (isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _OUT_OF_MEMORY))


def reserve(file: int, size: int) -> None:
    """Have the disk set so many bytes of a file aside. Raises `OSError` where it is full: without this a process that
    writes through a map of the file would be killed (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def place_of(error: BaseException) -> str:
    """Where it happened: the last line of ours, for libraries raise what they were given."""
    home = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(home)]
    if not (ours or frames):
        return "no place is known"
    frame = (ours or frames)[-1]
    file = Path(frame.filename)
    return f"{file.relative_to(home) if ours else file.name}, line {frame.lineno}"


@contextmanager
def answering_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP end the process as Ctrl-C does, with a word, where nobody else has taken them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stopped)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _stopped(number: int, frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
