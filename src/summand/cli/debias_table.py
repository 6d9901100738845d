"""What `summand debias` shows on screen."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from .common import escape

_SHOWN_GROUPS = 12
_FEW = 20


def show(made: Any, why: list[str], kind: str) -> None:
    """Why each unit was removed, and the accuracy of every group before and after beside the control."""
    console = Console(highlight=False)
    for reason in why[:_SHOWN_GROUPS]:
        console.print(f"• {escape(reason)}", soft_wrap=True)
    if len(why) > _SHOWN_GROUPS:
        console.print(f"• and {len(why) - _SHOWN_GROUPS} more {kind}s")
    columns = {
        "before": made.before,
        "after": made.after,
        "patched texts": made.patched,
        f"best of {len(made.random)} random": made.best_random,
    }
    table = Table(title=f"Accuracy, % ({len(why)} {kind}s removed)", title_justify="left", header_style="bold")
    table.add_column("group", no_wrap=True)
    table.add_column("images", justify="right")
    for name in columns:
        table.add_column(name, justify="right")
    rows = sorted(made.rows(), key=lambda row: row["before"])
    for row in rows[:_SHOWN_GROUPS]:
        values = (row[key] for key in ("before", "after", "patched", "random"))
        table.add_row(
            f"{row['class']} / {row['group']}", str(row["images"]), *(f"{100 * value:.1f}" for value in values)
        )
    if len(rows) > _SHOWN_GROUPS:
        table.add_row(f"… {len(rows) - _SHOWN_GROUPS} more groups", "", "", "", "", "")
    table.add_section()
    for name, get in (
        ("worst group", lambda found: found.worst),
        *([("worst quarter of the groups", lambda found: found.lowest(0.25))] if len(rows) > 8 else []),
        ("all groups alike", lambda found: found.balanced),
        ("train-weighted", lambda found: found.weighted),
    ):
        table.add_row(name, "", *(f"{100 * get(found):.1f}" for found in columns.values()), style="bold")
    console.print(table)
    smallest = min(row["images"] for row in rows)
    if smallest < _FEW:
        console.print(f"The smallest group has {smallest} image(s): the accuracy of the worst one is hardly known.")
