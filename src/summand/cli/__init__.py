"""The command line: parse, call, print. One module a command; what they share is in `common`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import SummandError
from . import (  # noqa: F401
    ablate,
    atlas,
    attack,
    concepts,
    debias,
    decompose,
    doctor,
    head,
    heatmap,
    label,
    models,
    neuron,
    pair,
    pools,
    retrieve,
    scenes,
    segment,
    shift,
    subconcepts,
    words,
)
from .common import app, escape, stderr

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line: 0 on success, 2 on bad usage or input, 130 when interrupted."""
    try:
        app(standalone_mode=True)
    except SummandError as error:
        stderr.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        stderr.print("interrupted")
        sys.exit(130)


def _version(value: bool) -> None:
    if value:
        print(f"summand {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass
