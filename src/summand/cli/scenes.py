"""`summand scenes`: draw scenes with known causes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import SummandError
from .common import JsonOption, app, emit


@app.command(
    epilog="Examples:\n\n"
    "  summand scenes --count 64 --seed 1 --out sheet.png\n\n"
    "  summand scenes --count 500 --groups 2 --out folder/\n\n"
    '  summand scenes --text "two red stars and a blue ring in the snow" --count 8 --out stars.png'
)
def scenes(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many scenes.")] = 64,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same scenes.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="A .png for a contact sheet, or a folder for files.")] = Path(
        "scenes.png"
    ),
    groups: Annotated[int, typer.Option("--groups", min=1, max=2, help="Groups of objects a scene.")] = 1,
    shift: Annotated[
        list[str] | None, typer.Option("--shift", help="attribute/value/share, as in place/sea/0.3.")
    ] = None,
    tie: Annotated[list[str] | None, typer.Option("--tie", help="cause/effect/share, as in shape/place/0.95.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Draw the described scene.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw scenes with known causes: a contact sheet, or a folder with masks and attributes.csv."""
    from .. import scenes as world

    if text is not None:
        drawn = world.describe(text, count, seed)
    else:
        options = [f"count={count}", f"seed={seed}", f"groups={groups}"]
        options += [f"shift={item}" for item in shift or []] + [f"tie={item}" for item in tie or []]
        drawn = world.parse_source("scenes:" + ",".join(options)).sample()
    if out.suffix.lower() == ".png":
        try:
            world.contact_sheet(drawn.images).save(out)
        except OSError as error:
            raise SummandError(f"cannot write {out}: {error.strerror or error}") from error
    else:
        world.write_folder(drawn, out)
    if as_json:
        rows = json.loads(drawn.attributes.to_json(orient="records"))
        emit("scenes", None, text, {"count": count, "seed": seed, "groups": groups, "out": str(out)}, rows)
    else:
        Console(highlight=False).print(f"[bold]{out.resolve()}[/]", soft_wrap=True)
