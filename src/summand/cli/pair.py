"""`summand pair`: one pair of a survey."""

from __future__ import annotations

from ..studies.surveys.options import UnitOptions
from .adapter import command


@command
def pair(survey: str, unit: str, *, options: UnitOptions):
    """Tell and show a neuron–head pair: its words, what they are worth on held-out images, its top images.

    Examples:

    - summand pair run 624x21
    - summand pair run 624x21 --out pair.png --json

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    unit
        Which one, such as 624x21.
    """
    from ..studies.surveys.unit import unit as verb
    from .loading import surveyed

    return verb(surveyed(survey), unit, options, "pair")
