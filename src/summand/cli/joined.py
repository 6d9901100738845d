"""What is in a survey, several as one, and a live page of one."""

from __future__ import annotations

from functools import partial

import summand

from ..report.explorer.options import ExploreOptions
from ..studies.surveys.options import InfoOptions, MergeOptions
from .adapter import command
from .console import escape, stderr
from .loading import images_of
from .options import OwnModelOptions, Show


@command
def info(survey: str, *, options: InfoOptions):
    from ..studies.surveys.info import info as verb

    return verb(survey)


@command
def merge(surveys: list[str], *, options: MergeOptions, show: Show):
    from ..studies.surveys.joined import merge as verb

    return verb(surveys, show.out, options)


@partial(command, shows=False)
def explore(survey: str | None = None, *, options: ExploreOptions, model: OwnModelOptions):
    given = images_of(survey, None)
    with summand.explore(given, model=model.load(given), options=options) as page:
        stderr.print(f"explore at {escape(page.url)}  (Ctrl-C ends it)", soft_wrap=True)
        page.wait()
