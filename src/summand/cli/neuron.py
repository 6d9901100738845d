"""`summand neuron`: one neuron of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import JsonOption, app
from .unit import OutOption, PicturesOption, RunArgument, show_unit


@app.command(epilog="Examples:\n\n  summand neuron run 9:2914\n\n  summand neuron run 9:2914 --out neuron.png --json")
def neuron(
    run: RunArgument,
    unit: Annotated[str, typer.Argument(metavar="LAYER:NEURON", help="Which one, such as 9:2914.")],
    out: OutOption = None,
    pictures: PicturesOption = 8,
    as_json: JsonOption = False,
) -> None:
    """Tell and show an MLP neuron: its words, what they are worth on held-out images, its top images."""
    show_unit("neurons", run, unit, out, pictures, as_json)
