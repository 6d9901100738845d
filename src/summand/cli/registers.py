"""`summand registers`: the neurons that make a sink, and what neutralising them changes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.table import Table

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
    warn_of_strange,
    wide_console,
)
from .inputs import model_for, open_images


@app.command(
    epilog="Examples:\n\n"
    "  summand registers scenes:count=200\n\n"
    "  summand registers photos/ --model ViT-L-14 --pretrained openai\n\n"
    "  summand registers photos/ --model RN50x16 --pretrained openai --neurons 32 --patch 143 --json"
)
def registers(
    images: Annotated[str, typer.Argument(help="Images to look at: a folder, a csv, a run folder, or scenes[:…].")],
    neurons: Annotated[int, typer.Option("--neurons", min=1, help="How many neurons to neutralise.")] = 10,
    ratio: Annotated[float, typer.Option("--ratio", help="By how much a sink exceeds what is usual.")] = 3.0,
    patch: Annotated[
        int | None,
        typer.Option("--patch", min=0, help="Of a CLIP-ResNet: the patch, row by row [default: the most attended]."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Use at most this many images.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random control.")] = 0,
    model: OwnModelOption = None,
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Find the neurons that make a sink, a patch that draws attention or grows large though it shows nothing, and see
    what becomes of it without them.

    Of a CLIP-ResNet the patch is one that the attention pool rests on; of a transformer any whose token has an outlying
    norm. What neutralising them costs: summand ablate --what registers.
    """
    from ..studies.registers import find_registers

    opened = open_images(images, count)
    loaded = model_for(opened, model, pretrained, random_init, device, checkpoint, activation)
    warn_of_strange(loaded, opened.source)
    found = find_registers(
        loaded, opened.source, neurons, ratio=ratio, patch=patch, seed=seed, batch_size=batch_size,
        progress=sys.stderr.isatty(),
    )  # fmt: skip
    rows = [
        {"neuron": f"{layer}:{neuron}" if found.patch is None else str(neuron), "score": score}
        for (layer, neuron), score in zip(found.neurons, found.scores, strict=True)
    ]
    ways = {
        "as it is": (found.strength, 1.0),
        "at zero": (found.zeroed, found.cosine_zeroed),
        "moved to a register": (found.moved, found.cosine_moved),
        "random neurons at zero": (found.random, found.cosine_random),
    }
    if as_json:
        options = {"neurons": neurons, "ratio": ratio, "patch": patch, "count": count, "seed": seed}
        options |= {"pretrained": pretrained, "random_init": random_init}
        options |= {"checkpoint": checkpoint, "activation": activation}
        changes = {name: {"strength": strength, "cosine": cosine} for name, (strength, cosine) in ways.items()}
        more = {"sink": found.there, "measure": found.measure, "share": found.share, "at": found.patch}
        emit("registers", loaded.name, images, options, rows, **more, changes=changes)
        return
    console = wide_console()
    where = "" if found.patch is None else f"; row {found.patch[0]}, column {found.patch[1]}, both from 0"
    console.print(f"{found.measure}: {found.strength:.2f} (a sink from {ratio:g} on{where})", soft_wrap=True)
    if not found.there:
        console.print("There is no sink, so there are no register neurons.")
        return
    console.print(", ".join(f"{row['neuron']} ({row['score']:.3g})" for row in rows), soft_wrap=True)
    console.print(_table(ways))


def _table(ways: dict[str, tuple[float | None, float | None]]) -> Table:
    table = Table(header_style="bold")
    for name in ("these neurons", "sink", "cosine with the model's own output"):
        table.add_column(name, justify="left" if name == "these neurons" else "right", no_wrap=True)
    for name, (strength, cosine) in ways.items():
        if strength is not None and cosine is not None:
            table.add_row(name, f"{strength:.2f}", f"{cosine:.3f}")
    return table
