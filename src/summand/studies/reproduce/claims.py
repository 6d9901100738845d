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
    made = [
        f"`{command}` makes this page (`claims/claims.md`) in {minutes:.0f} minutes of processor time; a row's seconds "
        f"stand behind its name, and rows that share passes leave them to the first. Of {len(rows)} claims {held} hold "
        f"and {len(rows) - held} do not; where one does not, the reason that was looked for stands behind its numbers.",
    ]
    return [*made, "", *_OF_SCENES] if options.on == "scenes" else made


_OF_SCENES = (
    "Each table and figure is made as it was published, but with the models of the scenes and of rendered scenes: its "
    "*numbers* cannot be compared with the paper's, what it *says* can.",
    "",
    "A scene counts as right where all of its eight attributes are named right. "
    f"*A little* is up to {LITTLE:.0%} of the accuracy of the model as it is, *next to nothing* up to {NOTHING:.0%}.",
    "",
    "The numbers themselves need the papers' data and models:",
    "",
    "```sh",
    "summand reproduce list                 # every row, the data it needs, the paper's models",
    "summand reproduce C:table3 --data imagenet-seg=gtsegs_ijcv.mat --out c3",
    "summand reproduce A:table1 --data imagenet-train=ILSVRC/train --data imagenet-val=ILSVRC/val --out a1",
    "summand reproduce C --data imagenet-val=ILSVRC/val --data waterbirds=waterbird_complete95_forest2water2 --out c",
    "```",
    "",
    "It prints published | measured | difference and what deviates from the paper and why. Data are looked at first: "
    "of what is laid out otherwise the expected tree is shown, of absent weights their name and their place. "
    "Before long runs it says how long, and how much it leaves on the disk. With a folder as `--out` finished rows are "
    "not made again and surveys go on where they stopped. `--model` takes another model in the place of the paper's, "
    "`--pool FILE` the word lists that are not ours to ship, `--classes FILE` the names of a part of ImageNet.",
)


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
