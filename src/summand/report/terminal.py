"""Results on a terminal: ids and numbers stay whole, words wrap, whatever the width."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as Drawn

from ..studies.columns import Column, Table
from ..studies.result import Result
from ..visible import escape, visible

_HALF = 12  # cells of a bar to either side


def console() -> Console:
    """As wide as the terminal; wide enough for one line a row where the output is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 240)


def show(result: Result, written: dict[str, Path]) -> None:
    """Print a result: its tables, and what was written where."""
    out = console()
    for table in result.tables():
        if table.plain:
            sys.stdout.write("".join(f"{visible(str(value))}\n" for value in table.rows[table.columns[0].name]))
        else:
            out.print(drawn(table) if table.columns else escape(table.title))
            if table.caption:
                out.print(visible(table.caption), markup=False, soft_wrap=True)
    for what, path in written.items():
        out.print(f"{what}: [bold]{escape(str(path.resolve()))}[/]", soft_wrap=True)


def drawn(table: Table) -> Drawn:
    """A table of rich, of the columns as their kinds ask."""
    found = Drawn(
        header_style="bold",
        title=escape(table.title) or None,
        title_justify="left",
        title_style="bold",
    )
    rows = table.rows.to_dict("records")
    for column in table.columns:
        if column.kind == "bar":
            found.add_column(escape(column.header), no_wrap=True, min_width=2 * _HALF + 1)
        elif column.kind == "words":
            found.add_column(escape(column.header), overflow="fold", min_width=12, ratio=None)
        else:
            cells = [column.text(row[column.name]) for row in rows]
            longest = max(len(line) for cell in [*cells, column.header.split(" ")[0]] for line in cell.split("\n"))
            right = "right" if column.kind == "number" else "left"
            found.add_column(escape(column.header), justify=right, no_wrap=True, min_width=min(longest, 40))
    for row in rows:
        largest = {column.name: _largest(rows, column) for column in table.columns if column.kind == "bar"}
        found.add_row(*(_cell(column, row[column.name], largest) for column in table.columns))
    return found


def _largest(rows: list[dict[str, object]], column: Column) -> float:
    values = [abs(float(row[column.name])) for row in rows if isinstance(row[column.name], (int, float))]  # type: ignore[arg-type]
    return max(values, default=0.0) or 1.0


def _cell(column: Column, value: object, largest: dict[str, float]) -> str:
    if column.kind != "bar":
        return escape(column.text(value))
    return signed_bar(float(value) / largest[column.name]) if isinstance(value, (int, float)) else ""


def signed_bar(share: float, half: int = _HALF) -> str:
    """A bar to the left (blue, against) or right (red, for) of the middle; share is in −1 … 1."""
    cells = round(abs(share) * half * 8) if share == share else 0
    whole, rest = divmod(cells, 8)
    if share >= 0:
        bar = "█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
        return f"{' ' * half}│[red]{bar}[/]"
    bar = ("▐" if rest >= 4 else "") + "█" * whole
    return f"{' ' * (half - len(bar))}[blue]{bar}[/]│"
