"""What ends a command before its time: its exit code, and the one line that says why.

0 success · 1 a failed check (an alarm), never anything else · 2 bad usage or input, or no room, memory or permission ·
3 a fault of ours · 130 interrupted · 141 nobody reads the output any more (`| head`).
"""

from __future__ import annotations

import os
import traceback

from ..errors import SummandError, first_line
from ..surroundings import is_out_of_memory, place_of, remedy_of

BAD_INPUT, OURS, INTERRUPTED, UNREAD = 2, 3, 130, 141
TRACEBACK = "SUMMAND_TRACEBACK"
"""The environment variable that asks for tracebacks; `summand --traceback COMMAND` does the same."""


def verdict(error: BaseException) -> tuple[int, str]:
    """Exit code, and a line for stderr; no line where there is nothing to say."""
    if isinstance(error, SummandError):
        return BAD_INPUT, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, f"interrupted by {error}" if str(error) else "interrupted"
    if isinstance(error, BrokenPipeError):
        return UNREAD, ""
    if is_out_of_memory(error):
        remedy = "give a smaller --batch-size, fewer images or texts, or another --device"
        return BAD_INPUT, f"out of memory ({first_line(error)}); {remedy}"
    if isinstance(error, OSError) and (remedy := remedy_of(error)):
        where = f"{error.filename}: " if error.filename is not None else ""
        return BAD_INPUT, f"{where}{error.strerror or first_line(error)}; {remedy}"
    return OURS, (
        f"a fault of summand, not of yours: {type(error).__name__}: {first_line(error)} ({place_of(error)}). Please "
        f"report it with the command and its traceback, which {TRACEBACK}=1 shows"
    )


def traceback_of(error: BaseException) -> str | None:
    """The traceback, where it was asked for."""
    if os.environ.get(TRACEBACK, "0") in ("", "0") or isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
        return None
    return "".join(traceback.format_exception(error))
