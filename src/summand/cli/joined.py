"""What is in a survey, and several as one."""

from __future__ import annotations

from ..studies.surveys.options import InfoOptions, MergeOptions
from .adapter import command
from .options import Show


@command
def info(survey: str, *, options: InfoOptions):
    from ..studies.surveys.info import info as verb

    return verb(survey)


@command
def merge(surveys: list[str], *, options: MergeOptions, show: Show):
    from ..studies.surveys.joined import merge as verb

    return verb(surveys, show.out, options)
