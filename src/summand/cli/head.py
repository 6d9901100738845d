"""`summand head`: one head of a survey."""

from __future__ import annotations

from ..studies.surveys.options import UnitOptions
from .adapter import command


@command
def head(survey: str, unit: str, *, options: UnitOptions):
    """Tell and show an attention head: its words, what they are worth on held-out images, its top images.

    Examples:

    - summand head run 22.11
    - summand head run 22.11 --out head.png --json

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    unit
        Which one, such as 22.11.
    """
    from ..studies.surveys.unit import unit as verb
    from .loading import surveyed

    return verb(surveyed(survey), unit, options, "head")
