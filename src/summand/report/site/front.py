"""What the front page says: the map of layers and heads, the other terms, words to start from, units and images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..palette import step
from .entries import Entry

if TYPE_CHECKING:
    from .pages import Made

_ROWS, _CHIPS = 24, 10
_WIDE = 24
"""Heads a layer above which the cells of the map hold no words."""


def front_page(
    made: Made, sheet: Mapping[int, tuple[int, int]], thumbs: Mapping[str, Sequence[int]], pieces: int
) -> dict[str, Any]:
    entries = sorted(made.entries, key=lambda entry: entry.rank)
    heads = {entry.unit.index: entry for entry in entries if entry.kind == "head"}
    return {
        "layers": _layers(made, heads, sheet, thumbs),
        "compact": made.model.tower.heads > _WIDE,
        "heads": range(made.model.tower.heads if made.shares is not None else 0),
        "mlps": made.mlps if made.mlps is not None and made.mlps.mlps else None,
        "measures": _measures(made),
        "entries": entries[:_ROWS],
        "total": len(entries),
        "thumbs": thumbs,
        "pieces": pieces,
        "chips": _chips(entries),
        "kinds": dict(Counter(entry.kind for entry in entries)),
        "properties": sorted({entry.words.kind for entry in entries if entry.words.kind}),
        "unit_layers": sorted({entry.unit.layer for entry in entries if entry.unit.layer is not None}),
        "proven": Counter(entry.kind for entry in entries if entry.words.verdict == "proven"),
        "falls": {entry.name: made.fall(entry.name) for entry in entries[:_ROWS]},
        "pictures": made.images,
        "sheet_size": _size(sheet),
    }


def _measures(made: Made) -> list[tuple[str, str, str]]:
    """What the map can be coloured by: key, name, and what a darker cell means."""
    found = [
        ("importance", "importance", "The share of the variance along the descriptions, among all heads, that this "
         "head writes: how far it moves images apart."),
        ("evidence", "evidence", "How well the head’s ranking of images that were kept aside tells those that show its "
         "words from the others; pale: not proven."),
    ]  # fmt: skip
    if made.changes:
        names = ", ".join(problem.name for problem in made.problems)
        found.append(
            ("ablation", "ablation", f"By how much zero-shot accuracy falls where this head stays at its mean: the "
             f"largest fall among {names}, on {len(made.problems[0].labels)} images kept aside.")
        )  # fmt: skip
    return found


def _layers(
    made: Made,
    heads: Mapping[tuple[int, ...], Entry],
    sheet: Mapping[int, tuple[int, int]],
    thumbs: Mapping[str, Sequence[int]],
) -> list[dict[str, Any]]:
    """Rows of the map, last layer first. steps: of each measure the colour, from 0 to 6."""
    if made.shares is None:
        return []
    most = float(made.shares.max()) or 1.0
    falls = {index: made.fall(entry.name) for index, entry in heads.items()}
    worst = max((fall.fall for fall in falls.values() if fall is not None), default=0.0) or 1.0
    rows = []
    for layer in reversed(range(made.shares.shape[0])):
        cells = []
        for head in range(made.shares.shape[1]):
            entry, share = heads.get((layer, head)), float(made.shares[layer, head])
            fall = falls.get((layer, head))
            score = entry.badge.score if entry is not None and entry.words.whole else None
            cells.append(
                {
                    "head": head,
                    "entry": entry,
                    "share": share,
                    "fall": fall,
                    "steps": {
                        "importance": step((share / most) ** 0.6),
                        "evidence": 0 if score is None else step(max(0.0, 2 * score - 1) ** 3),
                        "ablation": step(max(0.0, fall.fall / worst) ** 0.6) if fall is not None else 0,
                    },
                    "tiny": [sheet[i] for i in thumbs.get(entry.name, ()) if i in sheet] if entry is not None else [],
                }
            )
        mlp = made.mlps.mlps[layer] if made.mlps is not None and layer < len(made.mlps.mlps) else None
        rows.append(
            {
                "layer": layer,
                "cells": cells,
                "mlp": mlp,
                "mlp_step": 0 if mlp is None else step(min(1, mlp / most) ** 0.6),
            }
        )
    return rows


def _chips(entries: Sequence[Entry]) -> list[str]:
    """Words to start a search from: those that most units say, proven, of one property after another."""
    counts = Counter(word for entry in entries for word in dict.fromkeys(entry.words.proven))
    kind = {end.words[0]: end.kind or entry.words.kind for entry in entries for end in entry.words.ends if end.proven}
    chosen: list[str] = []
    for turn in range(3):
        seen: Counter[str | None] = Counter(kind[word] for word in chosen)
        for word, _ in counts.most_common():
            if word not in chosen and seen[kind[word]] <= turn and len(chosen) < _CHIPS:
                chosen.append(word)
                seen[kind[word]] += turn + 1
    return chosen


def _size(sheet: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """Columns and rows of the sheet of tiny pictures."""
    return (max((c for c, _ in sheet.values()), default=0) + 1, max((r for _, r in sheet.values()), default=0) + 1)
