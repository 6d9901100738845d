"""`summand heatmap`: where in a picture a text is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .common import (
    DeviceOption,
    JsonOption,
    ModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    load_model,
    read_picture,
    wait,
)


@app.command(
    epilog="Examples:\n\n"
    '  summand heatmap scene.png "a star" --out star.png\n\n'
    '  summand heatmap scene.png "a red star" --versus "a blue ring"\n\n'
    '  summand heatmap dog.jpg "a dog" "grass" --model ViT-B-16 --pretrained laion2b_s34b_b88k'
)
def heatmap(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="One or several texts, in quotes.")],
    versus: Annotated[str | None, typer.Option("--versus", help="Compare the one text with this one.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("heatmap.png"),
    array: Annotated[
        Path | None, typer.Option("--array", help="Also write the maps [text, height, width] as .npy.")
    ] = None,
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Show which parts of a picture speak for a text, and which against it."""
    import numpy as np

    from ..studies.heatmap import heatmap as make

    picture = read_picture(image)
    loaded = wait(f"loading {model}", lambda: load_model(model, pretrained, random_init, device))
    maps = wait("taking the image apart", lambda: make(loaded, picture, texts, versus=versus))
    maps.save(out)
    if array is not None:
        np.save(array, maps.upsampled())
    rows = [
        {"text": text, "sum": float(grid.sum()), "max": float(grid.max()), "min": float(grid.min())}
        for text, grid in zip(maps.texts, maps.grid, strict=True)
    ]
    if as_json:
        emit("heatmap", loaded.name, str(image), {"versus": versus, "out": str(out)}, rows, grid=maps.grid.tolist())
    else:
        Console(highlight=False).print(f"[bold]{out.resolve()}[/]", soft_wrap=True)
