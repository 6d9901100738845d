"""`summand retrieve`: the nearest images by what some units say."""

from __future__ import annotations

from pathlib import Path

from ..studies.retrieve.options import RetrieveOptions
from .adapter import command
from .options import OwnModelOptions


@command
def retrieve(query: Path, images: str, *, options: RetrieveOptions, model: OwnModelOptions):
    """Find the pictures that are most like one, in what a unit or a property says, or as a whole.

    Examples:

    - summand retrieve scene.png scenes:count=2000 --property colour
    - summand retrieve dog.jpg photos/ --units 22.11 --model ViT-L-14 --pretrained laion2b_s32b_b82k
    - summand retrieve dog.jpg photos/ --units 9:2914 --count 50000 --out sheet.png --json

    Parameters
    ----------
    query
        The picture to find others like.
    images
        Where to search: images, or the folder of a survey.
    """
    from .. import retrieve as verb
    from ..data.pictures import as_picture
    from ..studies.given import images_of

    picture, where = as_picture(query), images_of(images, options.count)
    found = verb(model.load(where, picture), picture, where, options=options)
    found.more["query"] = str(query)
    return found
