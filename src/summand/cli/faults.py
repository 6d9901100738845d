"""What ends a command before its time: its exit code, and the one line that says why.

0 success · 1 a failed check (an alarm), never anything else · 2 bad usage or input, or no room, memory or permission ·
3 a fault of ours · 130 interrupted · 141 nobody reads the output any more (`| head`).
"""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from ..errors import SummandError, first_line

BAD_INPUT, OURS, INTERRUPTED, UNREAD = 2, 3, 130, 141
TRACEBACK = "SUMMAND_TRACEBACK"
"""The environment variable that asks for tracebacks; `summand --traceback COMMAND` does the same."""

_SURROUNDINGS = {
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
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "unable to allocate")


def verdict(error: BaseException) -> tuple[int, str]:
    """Exit code, and a line for stderr; no line where there is nothing to say."""
    if isinstance(error, SummandError):
        return BAD_INPUT, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, BrokenPipeError):
        return UNREAD, ""
    if _of_memory(error):
        remedy = "give a smaller --batch-size, fewer images or texts, or another --device"
        return BAD_INPUT, f"out of memory ({first_line(error)}); {remedy}"
    if isinstance(error, OSError) and error.errno in _SURROUNDINGS:
        where = f"{error.filename}: " if error.filename is not None else ""
        return BAD_INPUT, f"{where}{error.strerror or first_line(error)}; {_SURROUNDINGS[error.errno]}"
    return OURS, (
        f"a fault of summand, not of yours: {type(error).__name__}: {first_line(error)} ({_place(error)}). Please "
        f"report it with the command and its traceback, which {TRACEBACK}=1 shows"
    )


def traceback_of(error: BaseException) -> str | None:
    """The traceback, where it was asked for."""
    if os.environ.get(TRACEBACK, "0") in ("", "0") or isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        return None
    return "".join(traceback.format_exception(error))


def _of_memory(error: BaseException) -> bool:
    """torch raises RuntimeErrors, of a type of their own on a GPU; numpy a MemoryError."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or (isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _OUT_OF_MEMORY))


def _place(error: BaseException) -> str:
    """Where it happened: the last line of ours, for libraries raise what they were given."""
    home = Path(__file__).parent.parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(home)]
    if not (ours or frames):
        return "no place is known"
    frame = (ours or frames)[-1]
    file = Path(frame.filename)
    return f"{file.relative_to(home) if ours else file.name}, line {frame.lineno}"
