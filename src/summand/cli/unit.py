"""`summand unit`: one unit of a survey."""

from __future__ import annotations

from ..studies.surveys.options import UnitOptions
from .adapter import command


@command
def unit(survey: str, unit: str, *, options: UnitOptions):
    """Tell and show a head, a neuron or a pair: its words, what they are worth on held-out images, its top images.

    Examples:

    - summand unit run 10.3
    - summand unit run 10.3 --out unit.png --json

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    unit
        Which one, such as 10.3, 9:2914 or 624x21.
    """
    from ..studies.surveys.unit import unit as verb
    from .loading import surveyed

    return verb(surveyed(survey), unit, options)
