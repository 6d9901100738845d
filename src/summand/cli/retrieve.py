"""`summand retrieve`: the nearest images by what one unit says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..errors import SummandError
from .common import (
    ActivationOption,
    BatchOption,
    CheckpointOption,
    DeviceOption,
    JsonOption,
    OwnModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    escape,
    pool_for,
    read_picture,
    stderr,
    wait,
    warn_of_strange,
    wide_console,
)
from .inputs import model_for, open_images

_LABEL_IMAGES = 1000


@app.command(
    epilog="Examples:\n\n"
    "  summand retrieve scene.png --in scenes:count=2000 --property colour\n\n"
    "  summand retrieve dog.jpg --in photos/ --head 22.11 --model ViT-L-14 --pretrained laion2b_s32b_b82k\n\n"
    "  summand retrieve dog.jpg --in photos/ --neuron 9:2914 --count 50000 --out sheet.png --json"
)
def retrieve(
    query: Annotated[Path, typer.Argument(help="The picture to find others like.")],
    images: Annotated[str, typer.Option("--in", "--images", "-i", help="Where to search: images or a run folder.")],
    head: Annotated[list[str] | None, typer.Option("--head", help="LAYER.HEAD (can be repeated).")] = None,
    neuron: Annotated[list[str] | None, typer.Option("--neuron", help="LAYER:NEURON (can be repeated).")] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="NEURON.HEAD of an attention pool.")] = None,
    name: Annotated[
        str | None, typer.Option("--property", help="All heads labelled with it: colour, place, lighting, ….")
    ] = None,
    nearest: Annotated[int, typer.Option("--nearest", "-k", min=1, help="How many images.")] = 16,
    metric: Annotated[str, typer.Option("--metric", help="cosine, or inner (products of lengths too).")] = "cosine",
    centre: Annotated[bool, typer.Option(help="Take the mean over the searched images away.")] = True,
    layers: Annotated[int, typer.Option("--layers", min=1, help="With --property: of the last layers.")] = 4,
    texts: Annotated[str | None, typer.Option("--pool", help="Description pool of the labels.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Search at most this many images.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Contact sheet to write.")] = Path("retrieve.png"),
    model: OwnModelOption = None,
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Find the images nearest to a picture by what some heads, neurons or pairs write; by default by everything."""
    from ..report.contact_sheet import contact_sheet
    from ..report.figures import check_format
    from ..studies.retrieval import Space, build_index
    from ..unit import Unit

    if metric not in ("inner", "cosine"):
        raise SummandError(f"--metric is cosine or inner, got {metric!r}")
    units: list[Unit] = []
    for kind, given in (("heads", head), ("neurons", neuron), ("pairs", pair)):
        units += [Unit.parse(text, kind) for text in given or ()]
    if units and name is not None:
        raise SummandError("search by --property or by single units, not by both")
    check_format(out)
    picture = read_picture(query)
    where = open_images(images, count)
    loaded = model_for(where, model, pretrained, random_init, device, checkpoint, activation)
    warn_of_strange(loaded, picture, where.source)
    if name is not None:
        units = list(_units_of_property(loaded, where, name, texts, layers, batch_size))
    space = Space(tuple(units))
    pixels = loaded.preprocess(picture)[None].to(loaded.device, loaded.dtype)
    asked = space.features(loaded, pixels)
    index = build_index(loaded, where.source, space, batch_size=batch_size, progress=sys.stderr.isatty())
    found, scores = index.search(asked, nearest, metric, centre)  # type: ignore[arg-type]
    truth = where.source.attributes()
    rows = []
    for rank, (image, score) in enumerate(zip(found[0].tolist(), scores[0].tolist(), strict=True), start=1):
        row: dict[str, Any] = {"rank": rank, "image": where.source.name(image), "index": image, "score": score}
        if truth is not None:
            row["attributes"] = {key: _plain(value) for key, value in truth.iloc[image].items()}
        rows.append(row)
    by = ", ".join(unit.name for unit in units) or "everything"
    title = f"nearest by {name + ': heads ' if name else ''}{by}"
    shown = [(where.source.image(row["index"]), f"{row['score']:.3g}") for row in rows]
    contact_sheet(out, [("query", [(picture, query.name)]), (title, shown)])
    for item in index.skipped:
        stderr.print(f"[yellow]skipped[/] {escape(item.name)}: {escape(item.reason)}")
    if as_json:
        options = {"query": str(query), "units": [unit.name for unit in units], "property": name, "metric": metric,
                   "centre": centre, "count": count, "out": str(out)}  # fmt: skip
        skipped = [{"name": item.name, "reason": item.reason} for item in index.skipped]
        emit("retrieve", loaded.name, images, options, rows, searched=len(index), skipped=skipped)
        return
    table = Table(header_style="bold", title=f"{title} ({len(index)} images searched)", title_justify="left")
    table.add_column("score", justify="right")
    table.add_column("image", no_wrap=True)
    if truth is not None:
        table.add_column("shows", no_wrap=True)
    for row in rows:
        more = [", ".join(str(value) for value in row["attributes"].values())] if truth is not None else []
        table.add_row(f"{row['score']:.3g}", escape(row["image"]), *more)
    console = wide_console()
    console.print(table)
    console.print(f"[bold]{out.resolve()}[/]", soft_wrap=True)


def _units_of_property(model: Any, where: Any, name: str, texts: str | None, layers: int, batch_size: int) -> Any:
    """From a run's own statistics, else from a first pass over some of the images."""
    from ..maps.heatmap import default_pool
    from ..studies.retrieval import property_units
    from ..survey import collect
    from ..text.pools import pool

    if where.run is not None and "heads" in where.run.manifest.groups:
        moments = where.run.moments("heads")
    else:
        some = (
            open_images(where.given, min(_LABEL_IMAGES, len(where.source))).source
            if where.run is None
            else where.source
        )
        passed = wait("labelling heads", lambda: collect(model, some, layers, batch_size, progress=False))
        moments = passed.moments
    return property_units(model, moments, pool_for(model, pool(texts or default_pool(model))), name, layers)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
