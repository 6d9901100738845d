"""What `summand head`, `summand neuron` and `summand pair` share: one unit of a run, told and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import SummandError
from .common import emit, escape, stderr, warn_of_strange_run
from .label import decimal, percent, worded

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A folder of `summand decompose`.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Picture to write [default: a name from the unit].")
]
PicturesOption = Annotated[int, typer.Option("--pictures", "-n", min=1, help="Pictures a row.")]


def show_unit(kind: Any, run: Path, unit: str, out: Path | None, pictures: int, as_json: bool) -> None:
    """Print a unit's description and its evidence; write its top images as a picture strip."""
    from ..survey import open_run
    from ..survey.strip import strongest
    from ..unit import SINGULAR, Unit

    named = Unit.parse(unit, kind)
    group, index = named.group, named.index
    opened = open_run(run)
    opened.check_unit(group, index)
    warn_of_strange_run(opened)
    if opened.manifest.random_init:
        stderr.print("[bold yellow]warning:[/] the weights are RANDOM: these words mean nothing")
    most, least = strongest(opened, group, index, pictures)
    row = _label(opened, SINGULAR[kind], group.unit(index))
    explained = opened.dataset(group)["direction_explained"].isel(
        dict(zip(opened.dataset(group).attrs["units"], index, strict=True))
    )
    name = f"{SINGULAR[kind]} {group.unit(index)}"
    path = out or Path(f"{name.replace(' ', '-').replace(':', '.')}.png")
    # A strip of both sides where the unit has two; the few stray images of one side are no side.
    rows = [most, least] if 2 * len(least) >= len(most) else [most]
    texts = "" if row is None else " · ".join(worded(row["texts"], row["weights"])[:3])
    missing = _draw(opened, rows, f"{name} of {opened.manifest.model}", texts, path)
    if as_json:
        shown = [{"image": s.image, "name": s.name, "x": round(s.x, 4)} for s in (*most, *least)]
        found = {"unit": name, "variance": float(explained[0]), "label": row, "images": shown}
        emit(
            SINGULAR[kind],
            opened.manifest.model,
            opened.manifest.source,
            {"run": str(run), "unit": unit},
            [found],
            picture=None if missing else str(path),
        )
        return
    console = Console(highlight=False)
    console.print(f"[bold]{name}[/] of {opened.manifest.model}, {opened.dataset(group).attrs['count']:,} images")
    if row is None:
        console.print(f"no words yet: summand label {run}")
    else:
        _describe(console, row, kind)
    if kind == "pairs":
        console.print("a pair writes along exactly one direction")
    else:
        console.print(f"its direction carries {100 * float(explained[0]):.0f} % of its strongest effects")
    if not missing:
        console.print(f"[bold]{path.resolve()}[/]", soft_wrap=True)


def _label(run: Any, kind: str, unit: str) -> dict[str, Any] | None:
    from pandas import isna

    if not run.labelled:
        return None
    table = run.labels
    found = table[(table["kind"] == kind) & (table["unit"] == unit)]
    if not len(found):
        return None
    row = found.iloc[0].to_dict()
    plain = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in row.items()}
    return {key: value if isinstance(value, list) or not isna(value) else None for key, value in plain.items()}


def _describe(console: Console, row: dict[str, Any], kind: str) -> None:
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("weight", justify="right")
    table.add_column("text")
    if kind == "heads":
        table.add_column("variance explained so far", justify="right")
    shares = row["explained"] or [None] * len(row["texts"])
    for text, weight, share in zip(row["texts"], row["weights"], shares, strict=True):
        more = [f"{100 * share:.0f} %"] if kind == "heads" and share is not None else []
        table.add_row(f"{weight:+.2f}".replace("-", "−"), escape(text), *more)
    console.print(table)
    if row["evidence"] is None:
        console.print("[yellow]not scored:[/] too few images were held out, or the unit is the same on all of them")
    else:
        good = row["evidence"]
        verdict = "[green]evidence[/]" if good else "[yellow]without evidence[/]"
        console.print(
            f"{verdict} on held-out images: correlation [bold]{decimal(row['correlation'])}[/], "
            f"AUC of the strongest 2 % {decimal(row['auc'])}\n"
            f"random descriptions: correlation {decimal(row['random_correlation'])} (95th percentile "
            f"{decimal(row['random_limit'])}), AUC {decimal(row['random_auc'])}; "
            f"its own direction: {decimal(row['own_correlation'])}"
        )
    console.print(
        f"the words fit its direction to cosine {decimal(row['cosine'])}; importance {percent(row['importance'])}"
    )


def _draw(run: Any, rows: list[list[Any]], title: str, texts: str, path: Path) -> bool:
    """Write the strip; True (with a word on stderr) where the pictures are not to be had."""
    from ..survey.strip import picture_strip, save_strip

    if not any(rows):
        stderr.print("no picture strip: the run keeps no top images (--top 0)")
        return True
    try:
        source = run.source()
    except SummandError as error:
        stderr.print(f"[yellow]no picture strip:[/] {escape(str(error))}", soft_wrap=True)
        return True
    save_strip(picture_strip(source, rows, title, texts), path)
    return False
