"""Surveys: made, put into words, and asked about single units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import summand

from ..studies.atlas_options import AtlasOptions
from ..studies.surveys.options import LabelOptions, SurveyOptions, UnitOptions
from .adapter import Images, command
from .console import escape, stderr
from .loading import opened, surveyed
from .options import Compute, ModelOptions, OwnModelOptions, Show


@command
def survey(images: Images = "scenes", *, options: SurveyOptions, model: ModelOptions, compute: Compute, show: Show):
    from ..studies.surveys.run import going_on, surveyed

    if said := going_on(show.out, options):
        stderr.print(escape(said), soft_wrap=True)
    return surveyed(images, show.out, options, model, compute)


@command
def label(survey: str, *, options: LabelOptions, device: str = "auto"):
    found, model = opened(survey, device, options.pool)
    from ..studies.surveys.label import label as verb

    return verb(found, options, model)


@command
def atlas(images: Images = "scenes", *, options: AtlasOptions, model: OwnModelOptions, compute: Compute, show: Show):
    from ..report.site.run import checked

    given, out = checked(images, show.out, options, compute.count)
    return summand.atlas(given, out, model=model.load(given), batch_size=compute.batch_size, options=options)


def _of_one(name: str, what: str, which: str) -> Callable[..., Any]:
    """The command that tells one unit: of any kind, or of the kind of its name."""

    def told(survey: str, unit: str, *, options: UnitOptions):
        from ..studies.surveys.unit import unit as verb

        return verb(surveyed(survey), unit, options, None if name == "unit" else name)

    about = (UnitOptions.__doc__ or "").replace("unit run 10.3", f"{name} run {which.partition(',')[0]}")
    about = about.replace("10.3, 9:2914 or 624x21", which).replace("a head, a neuron or a pair", what)
    told.__name__, told.__doc__ = name, about.replace("unit.png", f"{name}.png")
    return command(told)


unit = _of_one("unit", "a head, a neuron or a pair", "10.3, 9:2914 or 624x21")
head = _of_one("head", "an attention head", "22.11")
neuron = _of_one("neuron", "an MLP neuron", "9:2914")
pair = _of_one("pair", "a neuron–head pair", "624x21")
