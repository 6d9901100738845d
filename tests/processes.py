"""Code in a process forked from this one, which has imported everything, and so starts at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from pathlib import Path


def in_fresh_imports(code: str, without: tuple[str, ...], said: Path) -> str:
    """What code prints where none of these packages is imported yet. said: a file to print to."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(code, without, said))
    process.start()
    process.join()
    assert process.exitcode == 0, said.read_text()
    return said.read_text()


def _run(code: str, without: tuple[str, ...], said: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in without]:
        del sys.modules[name]
    with said.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        exec(code, {"__name__": "__main__"})
