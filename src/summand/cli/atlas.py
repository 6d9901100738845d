"""`summand atlas`: labels and pictures of every head, as a site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .common import (
    ActivationOption,
    BatchOption,
    CheckpointOption,
    DeviceOption,
    ImagesOption,
    JsonOption,
    ModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    escape,
    open_model,
    pool_for,
    stderr,
    warn_of_strange,
)


@app.command(
    epilog="Examples:\n\n"
    "  summand atlas\n\n"
    "  summand atlas --images photos/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out b16\n\n"
    "  summand atlas --images scenes:count=5000,seed=3 --json"
)
def atlas(
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    images: ImagesOption = "scenes",
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", help="Use at most this many images [default: 2000 scenes, all files]."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the site.")] = Path("atlas"),
    texts: Annotated[
        str | None, typer.Option("--pool", help="Description pool: a name or a text file [default: fits the model].")
    ] = None,
    layers: Annotated[int, typer.Option("--layers", min=1, help="How many of the last layers get a page a head.")] = 4,
    size: Annotated[int, typer.Option("--size", min=1, help="Texts a head.")] = 10,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Label every head of the last layers and build a site that shows what each one sees, and where.

    The site is a folder of plain files: open its index.html, no server needed.
    """
    from ..data import open_source
    from ..maps.heatmap import default_pool
    from ..report.site import build
    from ..report.site.build import check_folder
    from ..text.pools import pool

    source = open_source(images, count)
    chosen = pool(texts) if texts else None
    check_folder(out)
    loaded = open_model(model, pretrained, random_init, device, None, checkpoint, activation)
    warn_of_strange(loaded, source)
    chosen = pool_for(loaded, chosen or pool(default_pool(loaded)))
    made = build(
        loaded, source, out, pool=chosen, layers=layers, size=size, batch_size=batch_size, progress=sys.stderr.isatty()
    )
    rows = [
        {
            "layer": label.layer,
            "head": label.head,
            "importance": round(label.importance, 5),
            "attribute": label.attribute if default_pool(loaded) == "scenes" else None,
            "texts": list(label.texts),
            "explained": [round(share, 4) for share in label.explained],
        }
        for label in made.labels
    ]
    for item in made.skipped:
        stderr.print(f"[yellow]skipped[/] {escape(item.name)}: {escape(item.reason)}")
    if as_json:
        options = {
            "pool": chosen.name,
            "layers": layers,
            "size": size,
            "count": made.images,
            "random_init": random_init,
        }
        skipped = [{"name": item.name, "reason": item.reason} for item in made.skipped]
        emit(
            "atlas",
            loaded.name,
            source.label,
            options,
            rows,
            page=str(made.page),
            residual=made.residual,
            skipped=skipped,
        )
        return
    _heads_table(made.labels, default_pool(loaded) == "scenes")
    left_out = f", {len(made.skipped)} skipped" if made.skipped else ""
    console = Console(highlight=False)
    console.print(
        f"{made.images} images{left_out} in {made.seconds:.0f} s; the parts add up to the whole to {made.residual:.0e}"
    )
    if loaded.random_weights:
        console.print("[bold yellow]The weights are RANDOM: these labels mean nothing.[/]")
    console.print(f"[bold]{made.page.resolve()}[/]", soft_wrap=True)


def _heads_table(labels: list[Any], scenes: bool) -> None:
    table = Table(
        title="What each head of the last layers writes", title_justify="left", header_style="bold", expand=True
    )
    table.add_column("head", no_wrap=True)
    table.add_column("importance", justify="right", no_wrap=True)
    if scenes:
        table.add_column("sees", style="bold", no_wrap=True)
    table.add_column("first texts", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("explained", justify="right", no_wrap=True)
    for label in sorted(labels, key=lambda label: -label.importance):
        seen = [label.attribute or ""] if scenes else []
        table.add_row(
            label.name,
            f"{100 * label.importance:.1f} %",
            *seen,
            " · ".join(label.texts[:3]),
            f"{100 * label.explained[-1]:.0f} %",
        )
    Console(highlight=False).print(table)
