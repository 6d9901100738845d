"""`summand truth`: whether labels of heads name what the heads carry."""

from __future__ import annotations

import sys

from ..studies.truth.options import TruthOptions
from .adapter import command
from .options import ModelOptions


@command
def truth(*, options: TruthOptions, model: ModelOptions):
    """Score the labels of a model's heads against what the heads carry, on scenes, where the truth is known.

    Examples:

    - summand truth
    - summand truth --model scenes-vit-tied --count 1000 --layers 4-5 --json
    """
    from .. import truth as verb

    return verb(model.load(), options=options, progress=sys.stderr.isatty())
