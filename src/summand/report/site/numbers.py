"""Maps as the pages hold them: one byte a cell, drawn by the script."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .examples import Tab
from .maps import Maps
from .waterfall import ImagePage


def maps_of_unit(maps: Maps, name: str, tabs: Sequence[Tab], image: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """Images, and of each a map for every tab, or one for all. image: what the script is to know of an image."""
    scales, values = maps.of(name)
    slot = maps.slots[name]
    read = {number for tab in tabs for number in tab.images}
    rows = [row for row, number in enumerate(slot.images) if number in read]
    at = {slot.images[row]: place for place, row in enumerate(rows)}
    return {
        "signed": any(tab.direction is not None for tab in tabs),
        "maps": slot.tabs,
        "images": [image(slot.images[row]) for row in rows],
        "scales": [[_short(scale) for scale in scales[row]] for row in rows],
        "values": _bytes(values[rows]),
        "tabs": [
            {
                "title": tab.title,
                "strong": [at[number] for number in tab.strongest],
                "weak": [at[number] for number in tab.weakest],
                "scores": {at[number]: round(score, 2) for number, score in tab.scores.items() if number in at},
            }
            for tab in tabs
        ],
    }


def maps_of_image(page: ImagePage) -> dict[str, Any]:
    """A map for every score, each on its own scale."""
    scales = [float(np.abs(score.grid).max()) for score in page.scores]
    grids = [score.grid / (scale or 1) for score, scale in zip(page.scores, scales, strict=True)]
    values = np.rint(127 * np.stack(grids)).astype(np.int8) if grids else np.zeros(0, dtype=np.int8)
    return {"scales": [_short(scale) for scale in scales], "values": _bytes(values)}


def _short(number: float) -> float:
    return float(f"{number:.3g}")


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
