"""The figure of `attack`: of each list of words the pictures that mislead most."""

from __future__ import annotations

from typing import Any

from ..studies.attack.result import Attacked
from .contact_sheet import sheet


def figure(result: Attacked) -> Any:
    """A contact sheet, each picture with its score: positive where it is called the target."""
    rows = []
    for each, pictures in result.strongest():
        title = f"words from {each.words.method}: {each.mean:.1%} ± {each.std:.1%} fooled; the strongest"
        shown = [(picture.image, f"{picture.score:+.3f}{' fooled' * picture.fooled}") for picture in pictures]
        rows.append((title, shown))
    return sheet(rows)
