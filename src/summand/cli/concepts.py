"""`summand concepts`: what a picture holds, in words."""

from __future__ import annotations

from pathlib import Path

from ..studies.concepts.options import ConceptsOptions
from .adapter import command
from .options import OwnModelOptions


@command
def concepts(image: Path, *, reference: str | None = None, options: ConceptsOptions, model: OwnModelOptions):
    """Say what a picture holds and where: its own description first, then the words of the neurons that it moves.

    Examples:

    - summand concepts scene.png
    - summand concepts dog.jpg --reference photos/ --layers 9 --model ViT-B-32 --pretrained openai --out dog.png
    - summand concepts dog.jpg --reference run/ --json

    Parameters
    ----------
    image
        The picture.
    reference
        What is usual: images, or the folder of a survey [default: scenes, for a model of scenes].
    """
    from .. import concepts as verb
    from ..data.pictures import as_picture
    from ..studies.given import images_of

    picture = as_picture(image)
    known = None if reference is None else images_of(reference, options.count)
    found = verb(model.load(picture, known), picture, known, options=options)
    found.data = str(image)
    return found
