"""`summand label`: every unit of a run in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .common import (
    DeviceOption,
    JsonOption,
    app,
    emit,
    escape,
    pool_for,
    stderr,
    wait,
    warn_of_strange_run,
    warnings_said,
    wide_console,
)

_SHOWN = 12  # units of each kind on screen


@app.command(
    epilog="Examples:\n\n"
    "  summand label run\n\n"
    "  summand label run --pool general --size 60\n\n"
    "  summand label run --pool my-texts.txt --all"
)
def label(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder of `summand decompose`.")],
    texts: Annotated[
        str | None, typer.Option("--pool", help="Description pool: a name or a text file [default: fits the model].")
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="Texts a unit.")] = 10,
    most: Annotated[
        int | None, typer.Option("--most", min=1, help="Of neurons and pairs label only so many, the most important.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Print every unit.")] = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Put every unit into words, and score the words on the images that were held out.

    Writes labels.parquet and labels.csv into the run folder. A description that predicts the unit on held-out images
    no better than random texts of the pool would is marked as without evidence.
    """
    from ..maps.heatmap import default_pool
    from ..survey import open_run
    from ..survey.labels import label_run, write_labels
    from ..text.pools import pool

    opened = open_run(run)
    warn_of_strange_run(opened)
    chosen = pool(texts) if texts else None
    with warnings_said():
        model = wait(f"loading {opened.manifest.model}", lambda: opened.load_model(device))
    chosen = pool_for(model, chosen or pool(default_pool(model)))
    fits = max(1, len(chosen.texts) // 2)
    if size > fits:
        stderr.print(
            f"[yellow]note:[/] {size} of {len(chosen.texts)} texts leave no random ones to compare with; using {fits}"
        )
        size = fits
    progress = sys.stderr.isatty()
    embeddings = model.encode_text(chosen.texts, progress=progress)
    table = label_run(opened, chosen.texts, embeddings, size, most=most, progress=progress)
    parquet, csv = write_labels(opened, table)
    if opened.manifest.random_init:
        stderr.print("[bold yellow]warning:[/] the weights are RANDOM: these labels mean nothing")
    if as_json:
        rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
        options = {"pool": chosen.name, "size": size, "most": most}
        emit("label", model.name, opened.manifest.source, options, rows, files=[str(parquet), str(csv)])
        return
    console = wide_console()
    for kind in dict.fromkeys(table["kind"]):
        some = table[table["kind"] == kind].sort_values(
            ["evidence", "importance"], ascending=False, kind="stable", key=_sortable
        )
        console.print(_table(some if show_all else some.head(_SHOWN), kind, len(some), default_pool(model) == "scenes"))
        _verdict(console, some, kind)
    console.print(f"[bold]{parquet}[/] and {csv.name}: all {len(table):,} units", soft_wrap=True)


def _sortable(column: Any) -> Any:
    return column.astype("boolean").fillna(False).astype(int) if column.name == "evidence" else column


def _table(rows: Any, kind: str, of: int, scenes: bool) -> Table:
    title = f"{kind}s, the most telling {len(rows)} of {of:,}" if len(rows) < of else f"all {of:,} {kind}s"
    table = Table(title=title, title_justify="left", header_style="bold", expand=True)
    table.add_column(kind, no_wrap=True)
    table.add_column("importance", justify="right", no_wrap=True)
    if scenes:
        table.add_column("sees", style="bold", no_wrap=True)
    table.add_column("texts", overflow="ellipsis", no_wrap=True, ratio=1)
    for name in ("held out", "random", "AUC"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.itertuples():
        table.add_row(
            row.unit,
            percent(row.importance),
            *([row.attribute or ""] if scenes else []),
            escape(" · ".join(worded(row.texts, row.weights)[:3])),
            _marked(row),
            decimal(row.random_correlation),
            decimal(row.auc),
            style="" if row.evidence is not False else "dim",
        )
    return table


def _marked(row: Any) -> str:
    return decimal(row.correlation) + (" ✓" if row.evidence is True else " –" if row.evidence is False else "")


def _verdict(console: Any, rows: Any, kind: str) -> None:
    scored = rows[rows["evidence"].notna()]
    if len(scored):
        good = int(scored["evidence"].astype(bool).sum())
        console.print(
            f"[dim]held out: correlation of the description with the {kind} on images kept aside; ✓ for the {good:,} "
            f"of {len(scored):,} that are better than 95 % of random descriptions[/]\n"
        )
    else:
        console.print("[dim]too few images were held out to score the descriptions (--held-out)[/]\n")


def worded(texts: Any, weights: Any) -> list[str]:
    """Texts with a minus where the unit speaks against them."""
    return [text if weight >= 0 else f"−{text}" for text, weight in zip(texts, weights, strict=True)]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def decimal(value: Any) -> str:
    return "" if value is None or value != value else f"{value:.2f}"
