"""`summand label`: every unit of a survey in words."""

from __future__ import annotations

from ..studies.surveys.options import LabelOptions
from .adapter import command
from .loading import opened


@command
def label(survey: str, *, options: LabelOptions, device: str = "auto"):
    """Put every unit into words, and score the words on the images that were held out.

    Writes labels.parquet and labels.csv into the survey. A description that predicts the unit on held-out images
    no better than random texts of the pool would is marked as without evidence.

    Examples:

    - summand label run
    - summand label run --pool general --size 60
    - summand label run --pool my-texts.txt --all

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    device
        auto, cpu, cuda, cuda:1, mps.
    """
    found, model = opened(survey, device, options.pool)
    from ..studies.surveys.label import label as verb

    return verb(found, options, model)
