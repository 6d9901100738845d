"""`summand shift`: which units read differently in two sets of images, in words."""

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
    stderr,
    warn_of_strange,
    wide_console,
)
from .inputs import model_for, open_images

_FIXED = {"units": "--units", "layers": "--layers", "layer": "--layer", "texts": "--pool", "concept": "--concept"}
_FIXED |= {"protocol": "--protocol"}


@app.command(
    epilog="Examples:\n\n"
    "  summand shift scenes:count=500,seed=1 scenes:count=500,seed=2,shift=place/sea/0.3\n\n"
    "  summand shift last-year/ this-week/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out report\n\n"
    "  summand shift last-year/ --save-reference reference.npz, then: summand shift reference.npz this-week/\n\n"
    "  summand shift reference.npz pictures.csv --by month --json\n\n"
    '  summand shift last-year/ this-week/ --concept "a yellow car"  (also with --save-reference)\n\n'
    "Exit codes: 0 no alarm, 1 alarm, 2 bad usage or input."
)
def shift(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(help="Images, a run folder, or a saved reference (.npz).")],
    current: Annotated[str | None, typer.Argument(help="Images or a run folder to compare with it.")] = None,
    save_reference: Annotated[
        Path | None, typer.Option("--save-reference", help="Keep the reference as numbers (.npz), without its images.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Also compare batch by batch: a column of CURRENT's csv, or an attribute."),
    ] = None,
    concept: Annotated[
        list[str] | None, typer.Option("--concept", help="Also score this text (can be repeated).")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="paper: score --concept as paper B's code does (templates, no pool's mean)."),
    ] = None,
    units: Annotated[str, typer.Option("--units", help="What to watch: heads, neurons, pairs.")] = "heads",
    layers: Annotated[int, typer.Option("--layers", min=1, help="Of heads: how many of the last layers.")] = 4,
    layer: Annotated[
        int | None, typer.Option("--layer", min=0, help="Of neurons: the layer [default: third last].")
    ] = None,
    texts: Annotated[
        str | None, typer.Option("--pool", help="Description pool: a name or a text file [default: fits the model].")
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Probability of a false alarm, of all tests together.")
    ] = 0.01,
    permutations: Annotated[
        int, typer.Option("--permutations", min=1, help="Of the test of the whole, at least.")
    ] = 999,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="At most this many images of each.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the permutations.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report, or its name.html.")] = Path("shift"),
    model: OwnModelOption = None,
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Say which units changed between two sets of images, in words, and raise an alarm where it is more than chance."""
    from ..maps.heatmap import default_pool
    from ..report.shift.page import Report
    from ..scenes.pretrained import NAMES
    from ..studies.shift import Reference, compare, is_reference, make_reference, measure
    from ..studies.shift.compare import check_alpha
    from ..studies.shift.series import column_of, compare_by
    from ..text.pools import pool

    check_alpha(alpha)
    if protocol not in (None, "paper"):
        raise SummandError(f"--protocol must be 'paper' or be left out, got {protocol!r}")
    if is_reference(reference):
        _check_saved(ctx, reference)
    if protocol and not concept and not is_reference(reference):
        raise SummandError("--protocol paper says how a named concept is scored; name it with --concept")
    saved = Reference.load(reference) if is_reference(reference) else None
    if current is None and (save_reference is None or saved is not None):
        raise SummandError("give two sets of images, or one and --save-reference to keep it for later")
    if save_reference is not None and save_reference.suffix != ".npz":
        raise SummandError(f"--save-reference {save_reference}: the name must end in .npz")
    before = None if saved is not None else open_images(reference, count)
    after = None if current is None else open_images(current, count)
    values = None
    if by is not None:
        if after is None:
            raise SummandError("--by groups the current images; give them as second argument")
        values = column_of(after.source, str(current), by, count)
    page = out if out.suffix.lower() == ".html" else out / "index.html"
    _check_writable(page)
    given = before if before is not None else after
    assert given is not None
    default = saved.model if saved is not None and model is None and saved.model in NAMES else model
    loaded = model_for(given, default, pretrained, random_init, device, checkpoint, activation)
    strange = warn_of_strange(loaded, *(some.source for some in (before, after) if some is not None))
    chosen = pool_for(loaded, pool(texts or default_pool(loaded)))
    progress = sys.stderr.isatty()
    if saved is None:
        assert before is not None
        made = make_reference(
            loaded, before.source, chosen, units,  # type: ignore[arg-type]
            layers=layers, layer=layer, named=concept or (), parity="paper" if protocol else None,
            batch_size=batch_size, progress=progress,
        )  # fmt: skip
    else:
        saved.check(loaded)
        made = saved
    if save_reference is not None:
        made.save(save_reference)
    if after is None:
        if as_json:
            emit("shift", loaded.name, reference, {"save_reference": str(save_reference)}, [])
        else:
            wide_console().print(f"[bold]{save_reference.resolve()}[/]", soft_wrap=True)  # type: ignore[union-attr]
        return
    measured = measure(loaded, after.source, made.readings, batch_size, progress)
    options = {"alpha": alpha, "permutations": permutations, "seed": seed}
    series: list[dict[str, Any]] = []
    small: list[str] = []
    if values is None:
        result = compare(made, measured, **options)
    else:
        result, series, small = compare_by(made, measured, values, **options)
    named = made.named.compare(loaded, after.source, batch_size, progress) if made.named else []
    for item in (*made.measured.skipped, *measured.skipped):
        stderr.print(f"[yellow]skipped[/] {escape(item.name)}: {escape(item.reason)}")
    if small:
        stderr.print(f"[yellow]not tested[/], fewer than 8 images: {escape(', '.join(small))}")
    alarm = result.alarm or any(row["alarm"] for row in series)
    options |= {"units": made.readings.group.name, "by": by, "count": count, "out": str(page), "reference": made.label}
    options |= {"concept": list(made.named.units.texts) if made.named else []}
    more: dict[str, Any] = {
        "alarm": alarm, "mmd": result.mmd, "mmd_p": result.mmd_p, "report": str(page),
        "images": {"reference": result.reference_images, "current": result.current_images},
        "series": series, "concepts": named,
        "skipped": [{"name": item.name, "reason": item.reason} for item in (*made.measured.skipped, *measured.skipped)],
    }  # fmt: skip
    report = Report(
        result, made, measured, after.source, before.source if before else None, series, by, named,
        loaded.random_weights,
        strange,
    )  # fmt: skip
    rows = [row.row() for row in result.rows]
    for row, unit in zip(rows, result.rows, strict=True):
        row["pictures"] = [after.source.name(int(i)) for i in report.moved(unit)] if unit.changed else []
    results = {"command": "shift", "model": loaded.name, "data": str(current), "options": options, "rows": rows, **more}
    report.write(page, results)
    if as_json:
        emit("shift", loaded.name, str(current), options, rows, **more)
    else:
        _print(result, series, by, named, alarm, page)
    if alarm:
        raise typer.Exit(1)


def _check_saved(ctx: typer.Context, reference: str) -> None:
    """Refuse what a saved reference has fixed already."""
    sources = {name: ctx.get_parameter_source(name) for name in _FIXED}
    given = {name: source is not None and source.name == "COMMANDLINE" for name, source in sources.items()}
    fixed = [_FIXED[name] for name in _FIXED if given[name]]
    if fixed:
        raise SummandError(
            f"{', '.join(fixed)}: the saved reference {reference} fixes what is watched; leave the option out, or make "
            f"the reference again with it and --save-reference"
        )


def _check_writable(page: Path) -> None:
    if page.parent.exists() and not page.parent.is_dir():
        raise SummandError(f"{page.parent} is a file; give a folder, or a name that ends in .html, with --out")


def _print(result: Any, series: list[Any], by: str | None, named: list[Any], alarm: bool, page: Path) -> None:
    console = wide_console()
    table = Table(header_style="bold", title="Units, strongest change first", title_justify="left")
    for name in ("unit", "concept", "change", "strength", "p", "p corrected"):
        table.add_column(name, justify="left" if name in ("unit", "concept") else "right", no_wrap=True)
    for row in result.rows[:10]:
        style = "bold" if row.changed else "dim"
        side = "more" if row.effect > 0 else "less" if row.effect < 0 else "same"
        table.add_row(
            row.unit, escape(row.concept), f"{side} {row.effect:+.2f} σ", f"{row.strength:.2f}", f"{row.p:.1e}",
            f"{row.q:.1e}", style=style,
        )  # fmt: skip
    console.print(table)
    for row in named:
        console.print(f"{row['concept']}: {row['effect']:+.2f} σ, p = {row['p']:.1e}")
    if series:
        table = Table(header_style="bold", title=f"Over {by}", title_justify="left")
        for name in (str(by), "images", "verdict", "strongest", "change", "p corrected", "p whole"):
            table.add_column(name, no_wrap=True)
        for row in series:
            table.add_row(
                str(row["batch"]), str(row["images"]), "ALARM" if row["alarm"] else "quiet",
                f"{row['unit']}: {row['concept']}", f"{row['effect']:+.2f} σ", f"{row['q']:.1e}", f"{row['mmd_p']:.3f}",
                style="bold" if row["alarm"] else "dim",
            )  # fmt: skip
        console.print(table)
    console.print(
        f"{result.reference_images} reference and {result.current_images} current images; "
        f"the whole: MMD p = {result.mmd_p:.3f}"
    )
    console.print("[bold red]ALARM[/]: the images changed" if alarm else "No alarm: no more than chance")
    console.print(f"[bold]{page.resolve()}[/]", soft_wrap=True)
