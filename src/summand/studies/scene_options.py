"""What can be asked of `summand scenes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ScenesOptions:
    """Draw scenes with known causes: a picture, a contact sheet, or a folder with masks and attributes.csv.

    Examples:

    - summand scenes --text "a red star on the left and a blue ring on the right" --count 1 --out scene.png
    - summand scenes --count 64 --seed 1 --out sheet.png
    - summand scenes --count 500 --groups 2 --out folder/
    - summand scenes --text "two red stars and a blue ring in the snow" --count 8 --out stars.png
    """

    seed: int = 0
    """The same seed draws the same scenes."""
    groups: int = 1
    """Groups of objects a scene: 1 or 2."""
    shift: Sequence[str] = ()
    """attribute/value/share, as in place/sea/0.3; may be given more than once."""
    tie: Sequence[str] = ()
    """cause/effect/share, as in shape/place/0.95; may be given more than once."""
    text: str | None = None
    """Draw the described scene."""
