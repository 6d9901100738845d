"""`summand models`: every model, and whether its sum is exact."""

from __future__ import annotations

from rich.table import Table

from .common import JsonOption, app, emit, escape, stderr, wide_console


@app.command(epilog="Examples:\n\n  summand models\n\n  summand models --json")
def models(as_json: JsonOption = False) -> None:
    """List every model by name, with its image tower, the terms of its sum, and whether the sum is exact."""
    from ..models.load import catalogue

    rows = catalogue()
    if as_json:
        emit("models", None, None, {}, rows)
        return
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("weights", justify="right")
    table.add_column("image tower")
    table.add_column("exact", no_wrap=True)
    table.add_column("terms, or why not", overflow="fold")
    for row in rows:
        verdict = "[green]exact[/]" if row["exact"] else "[yellow]no[/]"
        about = " + ".join(row["terms"]) if row["exact"] else f"no: {escape(row['reason'])}"
        table.add_row(row["model"], str(row["tags"]), row["tower"], verdict, about)
    wide_console().print(table)
    exact = sum(row["exact"] for row in rows)
    stderr.print(
        f"{exact} of {len(rows)} models can be taken apart exactly; weights: how many trained sets there are",
        soft_wrap=True,
    )
