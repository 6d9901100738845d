"""`summand pair`: one pair of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import JsonOption, app
from .unit import OutOption, PicturesOption, RunArgument, show_unit


@app.command(epilog="Examples:\n\n  summand pair run 624.21\n\n  summand pair run 624.21 --out pair.png --json")
def pair(
    run: RunArgument,
    unit: Annotated[str, typer.Argument(metavar="NEURON.HEAD", help="Which one, such as 624.21.")],
    out: OutOption = None,
    pictures: PicturesOption = 8,
    as_json: JsonOption = False,
) -> None:
    """Tell and show a neuron–head pair: its words, what they are worth on held-out images, its top images."""
    show_unit("pairs", run, unit, out, pictures, as_json)
