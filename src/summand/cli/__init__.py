"""The command line: parse, call, print. One module a command, listed in `app`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from ..surroundings import answering_signals
from .app import run
from .console import escape, stderr
from .faults import INTERRUPTED, OURS, UNREAD, traceback_of, verdict

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and leave with the exit code that `faults` lists."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="replace")  # a sign that the terminal lacks is no reason to stop
    code: object = 0
    try:
        try:
            with answering_signals():
                code = run(arguments)
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):  # a library's last words, which Python would make exit code 1 of
                code = OURS
                _say(end, str(end))
            if code == INTERRUPTED:  # the command-line library has seen it first
                stderr.print("interrupted")
        except BaseException as error:
            code, line = verdict(error)
            _say(error, line)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = UNREAD
    if code == UNREAD:  # else Python tries once more on its way out, and complains
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    sys.exit(code)  # type: ignore[arg-type]


def _say(error: BaseException, line: str) -> None:
    trace = traceback_of(error)
    if trace is not None:
        stderr.print(escape(trace), soft_wrap=True)
    if line.startswith("interrupted"):
        stderr.print(line)
    elif line:
        stderr.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)
