"""What is in a survey, and several as one."""

from __future__ import annotations

from ..studies.surveys.options import MergeOptions
from .adapter import command
from .options import Show


@command
def info(survey: str):
    """Tell what is in a survey, finished or not, and compare every file with its checksum.

    Exits with 0 where all is as it was written, and with 1 where a file is damaged or missing, which is named.

    Examples:

    - summand info run

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    """
    from ..studies.surveys.info import info as verb

    return verb(survey)


@command
def merge(surveys: list[str], *, options: MergeOptions, show: Show):
    from ..studies.surveys.joined import merge as verb
    from ..studies.surveys.run import FOLDER

    return verb(surveys, FOLDER if show.out is None else show.out, options)
