"""`summand head`: one head of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import JsonOption, app
from .unit import ImagesOption, OutOption, RunArgument, show_unit


@app.command(epilog="Examples:\n\n  summand head run 22.11\n\n  summand head run 22.11 --out head.png --json")
def head(
    run: RunArgument,
    unit: Annotated[str, typer.Argument(metavar="LAYER.HEAD", help="Which one, such as 22.11.")],
    out: OutOption = None,
    images: ImagesOption = 8,
    as_json: JsonOption = False,
) -> None:
    """Tell and show an attention head: its words, what they are worth on held-out images, its top images."""
    show_unit("heads", run, unit, out, images, as_json)
