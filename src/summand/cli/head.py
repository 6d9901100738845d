"""`summand head`: one head of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import JsonOption, app
from .unit import OutOption, PicturesOption, RunArgument, show_unit


@app.command(epilog="Examples:\n\n  summand head run 22.11\n\n  summand head run 22.11 --out head.png --json")
def head(
    run: RunArgument,
    unit: Annotated[str, typer.Argument(metavar="LAYER.HEAD", help="Which one, such as 22.11.")],
    out: OutOption = None,
    pictures: PicturesOption = 8,
    as_json: JsonOption = False,
) -> None:
    """Tell and show an attention head: its words, what they are worth on held-out images, its top images."""
    show_unit("heads", run, unit, out, pictures, as_json)
