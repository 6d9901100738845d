"""The images that `debias` is given: labelled and in groups, those to train on, and those that are usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...data import ImageSource
from ...data.labelled import Labelled
from ...data.labelled_lists import as_source
from ...errors import SummandError
from ...survey import Survey
from ..given import images_of, is_survey
from ..zeroshot import read_labelled
from .groups import check_groups, with_shares
from .options import DebiasOptions, read_texts, read_units


@dataclass(frozen=True)
class Inputs:
    """What was opened. reference: unlabelled images that units are chosen on and means are taken over; None where those
    are the labelled ones. attribute: of the scenes, that the groups are the values of."""

    labelled: Labelled
    reference: ImageSource | None
    attribute: str | None
    survey: Survey | None = None
    """Of `reference`, where that was given as one."""


def opened(data: Any, train: Any, reference: Any, options: DebiasOptions, count: int | None = None) -> Inputs:
    """Everything opened and checked, before a model is asked for anything.

    Raises `SummandError` for images without groups, and where nothing says what the spurious attribute is.
    """
    more = {"groups": options.groups, "label_column": options.label_column}
    labelled = read_labelled(data, options.classes, split=options.split, count=count, **more)
    check_groups(labelled, options.allow_empty)
    attribute = labelled.group_attribute
    if not (read_units(options.units).named or read_texts(options.attribute) or attribute):
        raise SummandError(
            "say what the spurious attribute is in words (attribute='a photo on land,a photo on water'), or which "
            "heads or neurons to remove (units=10.3,11.2 or units=9:41)"
        )
    known = images_of(reference) if is_survey(reference) else None
    usual = known.source if known else None if reference is None else as_source(reference, split=options.split)
    if train is not None:
        training = read_labelled(train, options.classes, usual_split="train", **more)
        if training.groups is None:
            check_groups(training, True)
        labelled = with_shares(labelled, training)
        usual = training.source if usual is None else usual
    return Inputs(labelled, usual, attribute, None if known is None else known.run)
