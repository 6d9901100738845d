"""The command line: parse, call, print. One module a command; what they share is in `common`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from . import (  # noqa: F401
    atlas,
    decompose,
    head,
    label,
    neuron,
    pair,
)
from .app import COMMANDS, run
from .common import app, escape, stderr
from .faults import INTERRUPTED, OURS, TRACEBACK, UNREAD, traceback_of, verdict

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and leave with the exit code that `faults` lists."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="replace")  # a sign that the terminal lacks is no reason to stop
    code: object = 0
    try:
        try:
            code = run(arguments) if _new(arguments) else app(arguments, standalone_mode=True)
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


def _new(arguments: Sequence[str]) -> bool:
    """Whether the command has moved to the new command line already."""
    first = next((one for one in arguments if one != "--traceback"), None)
    return first in {"--version", *(one.name for one in COMMANDS)}


def _say(error: BaseException, line: str) -> None:
    trace = traceback_of(error)
    if trace is not None:
        stderr.print(escape(trace), soft_wrap=True)
    if line == "interrupted":
        stderr.print(line)
    elif line:
        stderr.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)


def _version(value: bool) -> None:
    if value:
        print(f"summand {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from, as SUMMAND_TRACEBACK=1 does.")
    ] = False,
) -> None:
    if traceback:
        os.environ[TRACEBACK] = "1"
