"""What the search of the front page reads: all units in a few columns, in pieces that are loaded when needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..html import as_data
from .entries import Entry
from .examples import Tab

PIECE = 2000
"""Units in one file."""
_SHOWN = 3


def write_index(
    entries: Sequence[Entry],
    thumbs: Mapping[str, Sequence[int]],
    falls: Mapping[str, float],
    folder: Path,
) -> int:
    """Write the pieces, the best evidence first over all of them; return how many there are. A page from the disk may
    not fetch a file, but it may load a script; so each piece is a call with its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    order = sorted(entries, key=lambda entry: entry.rank)
    pieces = range(0, len(order), PIECE)
    for number, start in enumerate(pieces):
        rows = [
            row_of(entry, thumbs.get(entry.name, ()), falls.get(entry.name)) for entry in order[start : start + PIECE]
        ]
        text = f"summandAtlas.add({as_data(rows)});\n"
        (folder / f"units-{number}.js").write_text(text, encoding="utf-8")
    return len(pieces)


def row_of(entry: Entry, thumbs: Sequence[int], fall: float | None) -> list[Any]:
    """name, kind, layer, address, property, verdict, score, what the badge says, importance, fall of accuracy, images,
    [text, sign, proven] of each end's words, [text, weight] of the texts, whether the words are of a part alone."""
    words = [[word, end.sign, int(end.proven)] for end in entry.words.ends for word in end.words]
    score = entry.badge.score
    return [
        entry.name,
        entry.kind,
        entry.unit.layer,
        entry.page,
        entry.words.kind,
        entry.badge.verdict,
        None if score is None else round(score, 3),
        entry.label,
        float(f"{entry.importance:.3g}"),
        None if fall is None else round(fall, 4),
        list(thumbs[:_SHOWN]),
        words,
        [[text, round(weight, 3)] for text, weight in entry.texts],
        int(entry.words.in_part),
    ]


def thumbs_of(tabs: Sequence[Tab]) -> list[int]:
    """The images that stand for a unit: the strongest of its first tab."""
    return list(tabs[0].strongest[:_SHOWN]) if tabs else []


def write_labels(table: pd.DataFrame, path: Path) -> None:
    """The table of labels for other programs, lists as JSON."""
    flat = table.copy()
    for name in flat.columns:
        values = flat[name].tolist()
        if any(isinstance(value, (list, np.ndarray)) for value in values):
            flat[name] = [None if value is None else json.dumps(_plain(value), ensure_ascii=False) for value in values]
    flat.to_csv(path, index=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
