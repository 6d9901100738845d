"""`summand doctor`: whether a model can be explained exactly, and if not, why."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from .common import (
    ActivationOption,
    CheckpointOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    escape,
    open_model,
    stderr,
    wide_console,
)


@app.command(
    epilog="Examples:\n\n  summand doctor scenes-vit\n\n  summand doctor ViT-B-16 -p laion2b_s34b_b88k\n\n"
    "Exits with 0 where everything holds and with 1 where something does not."
)
def doctor(
    model: Annotated[str, typer.Argument(help="scenes-vit, an open_clip name, hf:org/name or local-dir:path.")],
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    image_size: ImageSizeOption = None,
    device: DeviceOption = "cpu",
    random_init: RandomOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check every identity that explanations of a model rest on: its terms, neurons, pairs and texts."""
    from ..models.doctor import examine

    loaded = open_model(model, pretrained, random_init, device, image_size, checkpoint, activation)
    found = examine(loaded)
    if as_json:
        rows = [{**asdict(check), "holds": check.holds} for check in found.checks]
        about = {"tower": found.tower, "precision": found.precision, "device": found.device}
        emit("doctor", found.model, None, about, rows, exact=found.exact, findings=list(found.findings))
    else:
        table = Table(header_style="bold", box=None, pad_edge=False)
        table.add_column("identity")
        table.add_column("off by", justify="right", no_wrap=True)
        table.add_column("rounding", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for check in found.checks:
            error = "–" if check.error is None else f"{check.error:.1e}"
            allowed = "–" if check.allowed is None else f"{check.allowed:.0e}"
            table.add_row(check.what, error, allowed, "[green]holds[/]" if check.holds else "[bold red]no[/]")
        wide_console().print(table)
        for problem in dict.fromkeys(check.problem for check in found.checks if check.problem):
            stderr.print(f"[bold red]no:[/] {escape(problem)}", soft_wrap=True)
        for finding in found.findings:
            stderr.print(f"[bold yellow]found:[/] {escape(finding)}", soft_wrap=True)
        verdict = "can be explained exactly" if found.exact else "cannot be explained exactly"
        stderr.print(
            f"{escape(found.model)} ({found.tower}, {found.precision}, {found.device}) {verdict}", soft_wrap=True
        )
    if not found.exact:
        raise typer.Exit(1)
