"""`summand survey`: statistics of a model's units over images, in a folder."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ..studies.surveys.options import SurveyOptions
from .adapter import command
from .console import escape, stderr
from .options import Compute, ModelOptions, Show


@command
def survey(
    images: Annotated[str, Parameter(alias="-i")] = "scenes",
    *,
    options: SurveyOptions,
    model: ModelOptions,
    compute: Compute,
    show: Show,
):
    """Take every image apart and keep statistics of all units: moments, top images, held-out coefficients.

    Stopped half-way, the same command goes on where it was. `summand label` then puts the units into words.

    Examples:

    - summand survey --out run
    - summand survey scenes:count=2000,seed=7 --model scenes-rn --units heads,pairs --out rn
    - summand survey photos/ --model ViT-B-32 --pretrained openai --units heads,neurons:8-10 --out b32

    Parameters
    ----------
    images
        A folder, a csv/parquet of paths, or scenes[:key=value,…].
    """
    from ..studies.surveys.run import going_on, surveyed

    if said := going_on(show.out, options):
        stderr.print(escape(said), soft_wrap=True)
    return surveyed(images, show.out, options, model, compute)
