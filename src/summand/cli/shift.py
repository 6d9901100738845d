"""`summand shift`: which units read differently in two sets of images, in words."""

from __future__ import annotations

from dataclasses import replace

from ..studies.shift.options import ShiftOptions, check, is_reference
from .adapter import command
from .options import OwnModelOptions


@command
def shift(reference: str, current: str | None = None, *, options: ShiftOptions, model: OwnModelOptions):
    """Say which units changed between two sets of images, in words, and raise an alarm where it is more than chance.

    Exit codes: 0 no alarm, 1 alarm, 2 bad usage or input.

    Examples:

    - summand shift scenes:count=500,seed=1 scenes:count=500,seed=2,shift=place/sea/0.3
    - summand shift last-year/ this-week/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out report
    - summand shift last-year/ --save-reference reference.npz
    - summand shift reference.npz pictures.csv --by month --json
    - summand shift last-year/ this-week/ --concept "a yellow car"

    Parameters
    ----------
    reference
        Images, the folder of a survey, or a saved reference (.npz).
    current
        Images, or the folder of a survey, to compare with it.
    """
    check(options, reference, current, is_reference(reference))
    from .. import shift as verb
    from ..models.world import SHIPPED
    from ..studies.given import images_of
    from ..studies.shift.run import opened

    saved = opened(reference)
    before = None if saved is not None else images_of(reference, options.count)
    after = None if current is None else images_of(current, options.count)
    if saved is not None and model.model is None and saved.model in SHIPPED:
        model = replace(model, model=saved.model)
    return verb(saved or before, after, model.load(before, after), options=options)
