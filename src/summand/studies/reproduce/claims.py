"""The table of claims: as rows, and as the page that the docs carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .kept import Kept
from .options import ReproduceOptions
from .row import LITTLE, NOTHING, PAPERS, Row


def claim_rows(found: Sequence[tuple[Row, Kept]]) -> pd.DataFrame:
    """A row a claim."""
    rows = [
        {
            "row": row.id,
            "title": row.title,
            "claim": claim.says,
            "holds": bool(claim.holds),
            "numbers": claim.numbers,
            "why": "" if claim.holds else claim.why,
        }
        for row, kept in found
        for claim in kept.found.claims
    ]
    return pd.DataFrame(rows, columns=["row", "title", "claim", "holds", "numbers", "why"])


def as_markdown(rows: pd.DataFrame, seconds: Mapping[str, float], options: ReproduceOptions) -> str:
    """The page: a table a paper, then how it was made."""
    where = "scenes" if options.on == "scenes" else "the papers' data"
    lines = [f"# Which claims of the papers hold on {where}?", "", *_about(rows, seconds, options)]
    for paper, title in PAPERS.items():
        own = [one for one in rows.to_dict("records") if str(one["row"]).startswith(f"{paper}:")]
        if own:
            lines += [
                "",
                f"## Paper {paper}: {title}",
                "",
                "| | what the paper says | here | numbers |",
                "|---|---|---|---|",
            ]
            lines += [_line(row, seconds) for row in _once(own)]
    return "\n".join(lines) + "\n"


def _about(rows: pd.DataFrame, seconds: Mapping[str, float], options: ReproduceOptions) -> list[str]:
    count = "" if options.count is None else f" --count {options.count}"
    command = f"summand reproduce all --on {options.on}{count} --out claims"
    held = rows["holds"].tolist().count(True)
    minutes = sum(seconds.values()) / 60
    found = [
        f"`{command}` makes this page (`claims/claims.md`) in {minutes:.0f} minutes of processor time; a row's seconds "
        f"stand behind its name. Of {len(rows)} claims {held} hold and {len(rows) - held} do not; where one does not, "
        f"the reason that was looked for stands behind its numbers.",
    ]
    if options.on == "scenes":
        found += [
            "",
            "The protocol of each table and figure is the published one, on the models of the scenes in the place of "
            "the paper's, and on rendered scenes in the place of its pictures: its *numbers* cannot be compared, what "
            "it *says* can. `summand reproduce ROW --data NAME=PATH` measures the numbers themselves.",
            "",
            "A scene counts as right where all of its eight attributes are named right. Rows that share passes leave "
            "their seconds to the first of them. "
            f"*A little* is up to {LITTLE:.0%} of the accuracy of the model as it is, *next to nothing* up to "
            f"{NOTHING:.0%}.",
        ]
    return found


def _once(own: list[Any]) -> list[dict[str, Any]]:
    """The claims, each row's id and title only at its first."""
    found, last = [], None
    for row in own:
        found.append({**row, "first": row["row"] != last})
        last = row["row"]
    return found


def _line(row: dict[str, Any], seconds: Mapping[str, float]) -> str:
    name = f"**{row['row']}** {row['title']} ({seconds[row['row']]:.0f} s)" if row["first"] else ""
    said = row["numbers"] + (f" — {row['why']}" if row["why"] else "")
    return f"| {name} | {_cell(row['claim'])} | {'yes' if row['holds'] else '**no**'} | {_cell(said)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
