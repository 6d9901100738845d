"""What compares: two things by their parts, a query with all units, and two models."""

from __future__ import annotations

import summand

from ..studies.compare.options import CompareOptions, OtherModel
from ..studies.find.options import FindOptions
from ..studies.match.options import MatchOptions
from .adapter import command
from .loading import images_of, picture_of, surveyed
from .options import ModelOptions, OwnModelOptions


@command
def match(a: str, b: str, *, reference: str | None = None, options: MatchOptions, model: OwnModelOptions):
    from ..studies.match.run import kind_of

    pictures = [picture_of(one) for one in (a, b) if kind_of(one) == "image"]  # type: ignore[arg-type]
    known = images_of(reference, options.count)
    return summand.match(model.load(*pictures, known), a, b, known, options=options)


@command
def find(survey: str, query: str | None = None, *, options: FindOptions):
    from ..studies.find.run import find as verb

    return verb(surveyed(survey), query, options=options)


@command
def compare(b: str, images: str | None = None, *, options: CompareOptions, model: ModelOptions, other: OtherModel):
    given = images_of(images, options.count)
    shown = None if given is None else given.source
    return summand.compare(model.load(shown), other.of(b, model).load(shown), given, options=options)
