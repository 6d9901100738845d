"""`summand decompose`: statistics of a model's units over images, in a run folder."""

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
    stderr,
    warn_of_strange,
)


@app.command(
    epilog="Examples:\n\n"
    "  summand decompose --out run\n\n"
    "  summand decompose --model scenes-rn --images scenes:count=2000,seed=7 --units heads,pairs --out rn\n\n"
    "  summand decompose --model ViT-B-32 --pretrained openai --images photos/ --units heads,neurons:8-10 --out b32"
)
def decompose(
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder to make or to go on with.")],
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    images: ImagesOption = "scenes",
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", help="Use at most this many images [default: 2000 scenes, all files]."),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(
            "--units", "-u", help="heads, neurons, neurons:8-10, pairs, with commas between [default: fits the model]."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of the images kept aside to score labels (at most 1,000).")
    ] = 0.2,
    top: Annotated[
        int | None,
        typer.Option("--top", help="Images kept for a unit; 0 saves a pass [default: 2 % of them, 20 to 100]."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Replace the run that is in the folder.")] = False,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Take every image apart and keep statistics of all units: moments, top images, held-out coefficients.

    Stopped half-way, the same command goes on where it was. `summand label` then puts the units into words.
    """
    from ..data import open_source
    from ..survey import Manifest
    from ..survey import decompose as make
    from ..survey.folder import check_folder
    from ..survey.units import default_units, groups_of, parse_units

    wanted = parse_units(units) if units is not None else None
    source = open_source(images, count)
    more: dict[str, Any] = {"checkpoint": checkpoint, "activation": activation, "random_init": random_init}
    asked = Manifest.draft(model, pretrained, source, images, count, top=top, held_out=held_out, **more)
    check_folder(out, asked, restart)
    before = None if restart else _before(out)
    loaded = open_model(model, pretrained, random_init, device, None, checkpoint, activation)
    warn_of_strange(loaded, source)
    groups = groups_of(loaded, wanted or default_units(loaded))
    if before is not None:
        stderr.print(
            f"{escape(str(out))} is complete; nothing to do (--restart makes it again)"
            if before.complete
            else f"going on with {escape(str(out))}: {before.passed:,} of {before.planned:,} image passes are done"
        )
    run = make(
        loaded,
        source,
        out,
        asked,
        groups,
        batch_size=batch_size,
        restart=restart,
        progress=sys.stderr.isatty(),
    )
    rows = [_summary(run, group) for group in run.groups]
    made = run.manifest
    for item in made.skipped:
        stderr.print(f"[yellow]skipped[/] {escape(item['name'])}: {escape(item['reason'])}")
    if as_json:
        options = {"units": list(made.groups), "held_out": held_out, "top": top, "count": count}
        more = {"run": str(out), "images": len(run.images), "held_out_images": len(run.held_out_images)}
        emit(
            "decompose",
            loaded.name,
            images,
            options,
            rows,
            **more,
            residual=made.residual,
            skipped=list(made.skipped),
            seconds=made.seconds,
        )
        return
    _print(run, rows, out)


def _before(out: Path) -> Any:
    from ..survey import Manifest
    from ..survey.manifest import FILE

    return Manifest.read(out) if (out / FILE).is_file() else None


def _summary(run: Any, group: Any) -> dict[str, Any]:
    data = run.dataset(group)
    explained = data["direction_explained"].isel(component=0)
    size = sum(file.stat().st_size for file in (run.path / f"{group.name}.zarr").rglob("*") if file.is_file())
    return {
        "units": group.name,
        "count": int(explained.size),
        "paths": int(data.sizes["path"]),
        "images": int(data.attrs["count"]),
        "first_direction": round(float(explained.median()), 4),
        "megabytes": round(size / 1e6, 1),
    }


def _print(run: Any, rows: list[dict[str, Any]], out: Path) -> None:
    console, made = Console(highlight=False), run.manifest
    table = Table(header_style="bold")
    table.add_column("units", style="bold")
    for name in ("how many", "paths each", "in one direction", "on disk"):
        table.add_column(name, justify="right")
    for row in rows:
        layer = row["units"].partition(".")[2]
        name = f"neurons of layer {layer}" if layer else row["units"]
        share = f"{100 * row['first_direction']:.0f} %"
        table.add_row(name, f"{row['count']:,}", str(row["paths"]), share, f"{row['megabytes']:.1f} MB")
    console.print(table)
    held = len(run.held_out_images)
    skipped = f", {len(made.skipped)} skipped" if made.skipped else ""
    console.print(
        f"{len(run.images):,} images{skipped}, {held:,} of them held out, in {made.seconds:.0f} s; "
        f"the parts add up to the whole to {made.residual:.0e}"
    )
    console.print(
        "[dim]in one direction: share of the top images' variance that the first principal direction carries "
        "(median of the units)[/]"
    )
    if made.random_init:
        console.print("[bold yellow]The weights are RANDOM: these statistics mean nothing.[/]")
    console.print(f"[bold]{out.resolve()}[/]  next: summand label {out}", soft_wrap=True)
