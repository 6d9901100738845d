"""What puts maps, words and data to the test: against masks and answers, against a classifier, against earlier data."""

from __future__ import annotations

from dataclasses import replace

import summand

from ..studies.attack.options import AttackOptions
from ..studies.perturbation.options import PerturbationOptions
from ..studies.segmentation.options import SegmentOptions
from ..studies.shift.options import ShiftOptions, check, is_reference
from .adapter import command
from .loading import images_of
from .options import ModelOptions, OwnModelOptions


@command
def attack(
    image_of: str, classified_as: str, *, reference: str | None = None, options: AttackOptions, model: OwnModelOptions
):
    from ..studies.attack.synonyms import check_classes

    check_classes(image_of, classified_as)
    known = images_of(reference, options.count)
    return summand.attack(model.load(known), image_of, classified_as, known, options=options)


@command
def perturb(images: str, texts: list[str], *, options: PerturbationOptions, model: ModelOptions):
    from ..data.adapters import open_images

    source = open_images(images, options.count)
    return summand.perturb(model.load(source), source, texts, options=options)


@command
def segment(data: str, *, options: SegmentOptions, model: ModelOptions):
    from ..studies.segmentation.run import opened

    source = opened(data, options)
    return summand.segment(model.load(source), source, options=options)


@command
def shift(reference: str, current: str | None = None, *, options: ShiftOptions, model: OwnModelOptions):
    check(options, reference, current, is_reference(reference))
    from ..studies.shift.run import inputs

    before, after, known, name = inputs(reference, current, options)
    model = replace(model, model=model.model or name)
    return summand.shift(before, after, model.load(known, after), options=options)
