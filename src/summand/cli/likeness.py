"""Why two things are alike."""

from __future__ import annotations

import summand

from ..studies.match.options import MatchOptions
from .adapter import command
from .loading import images_of, picture_of
from .options import OwnModelOptions


@command
def match(a: str, b: str, *, reference: str | None = None, options: MatchOptions, model: OwnModelOptions):
    from ..studies.match.run import kind_of

    pictures = [picture_of(one) for one in (a, b) if kind_of(one) == "image"]  # type: ignore[arg-type]
    known = images_of(reference, options.count)
    return summand.match(model.load(*pictures, known), a, b, known, options=options)
