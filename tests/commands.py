"""Commands run in this process, as a shell would run them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from summand.cli import main


@dataclass(frozen=True)
class Finished:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        assert self.code in (0, 1), self.error
        return json.loads(self.out)


def command(*arguments: object) -> Finished:
    """Run `summand` with these arguments."""
    out, error = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return Finished(int(code or 0), out.getvalue(), error.getvalue())  # type: ignore[call-overload]


def error_of(*arguments: object) -> str:
    """What a command that must refuse says: one line, exit code 2, nothing on stdout."""
    found = command(*arguments)
    assert (found.code, found.out) == (2, ""), found
    lines = [line for line in found.error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, found.error
    return lines[0].removeprefix("error: ")
