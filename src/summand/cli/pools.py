"""`summand pools`: the description pools."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .common import JsonOption, app, emit


@app.command(epilog="Examples:\n\n  summand pools\n\n  summand pools general | head")
def pools(
    name: Annotated[str | None, typer.Argument(help="Print the texts of this pool.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the description pools, or the texts of one."""
    from ..text.pools import names, pool

    if name is not None:
        found = pool(name)
        if as_json:
            emit("pools", None, name, {}, list(found.texts))
        else:
            sys.stdout.write("\n".join(found.texts) + "\n")
        return
    if as_json:
        emit("pools", None, None, {}, [{"name": key, "about": about} for key, about in names().items()])
        return
    table = Table(header_style="bold")
    table.add_column("pool", style="bold")
    table.add_column("what is in it")
    for key, about in names().items():
        table.add_row(key, about)
    Console(highlight=False).print(table)
