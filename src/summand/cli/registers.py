"""`summand registers`: the neurons that make a sink, and what neutralising them changes."""

from __future__ import annotations

from ..studies.registers.options import RegistersOptions
from .adapter import command
from .options import OwnModelOptions


@command
def registers(images: str, *, options: RegistersOptions, model: OwnModelOptions):
    """Find the neurons that make a sink, a patch that draws attention or grows large though it shows nothing, and see
    what becomes of it without them.

    Of a CLIP-ResNet the patch is one that the attention pool rests on; of a transformer any whose token has an outlying
    norm. What neutralising them costs: summand ablate --what registers.

    Examples:

    - summand registers scenes:count=200
    - summand registers photos/ --model ViT-L-14 --pretrained openai
    - summand registers photos/ --model RN50x16 --pretrained openai --top 32 --patch 143 --json

    Parameters
    ----------
    images
        Images to look at: a folder, a csv or parquet of paths, the folder of a survey, or scenes.
    """
    from .. import registers as verb
    from ..studies.given import images_of

    given = images_of(images, options.count)
    return verb(model.load(given), given.source, options=options)
