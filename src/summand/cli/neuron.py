"""`summand neuron`: one neuron of a survey."""

from __future__ import annotations

from ..studies.surveys.options import UnitOptions
from .adapter import command


@command
def neuron(survey: str, unit: str, *, options: UnitOptions):
    """Tell and show an MLP neuron: its words, what they are worth on held-out images, its top images.

    Examples:

    - summand neuron run 9:2914
    - summand neuron run 9:2914 --out neuron.png --json

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    unit
        Which one, such as 9:2914.
    """
    from ..studies.surveys.unit import unit as verb
    from .loading import surveyed

    return verb(surveyed(survey), unit, options, "neuron")
