"""A live page."""

from __future__ import annotations

from functools import partial

import summand

from ..report.explorer.options import ExploreOptions
from .adapter import command
from .console import escape, stderr
from .loading import images_of
from .options import OwnModelOptions


@partial(command, shows=False)
def explore(survey: str | None = None, *, options: ExploreOptions, model: OwnModelOptions):
    given = images_of(survey, None)
    with summand.explore(given, model=model.load(given), options=options) as page:
        stderr.print(f"explore at {escape(page.url)}  (Ctrl-C ends it)", soft_wrap=True)
        page.wait()
