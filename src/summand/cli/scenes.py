"""`summand scenes`: draw scenes with known causes."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from ..studies.scene_options import ScenesOptions
from .adapter import command


@command
def scenes(
    *, count: Annotated[int, Parameter(alias="-n", help="How many scenes.")] = 64, options: ScenesOptions
) -> Any:
    """Draw scenes with known causes: a contact sheet, or a folder with masks and attributes.csv.

    Examples:

    - summand scenes --count 64 --seed 1 --out sheet.png
    - summand scenes --count 500 --groups 2 --out folder/
    - summand scenes --text "two red stars and a blue ring in the snow" --count 8 --out stars.png
    """
    from ..report.scenes import draw

    return draw(count, options=options)
