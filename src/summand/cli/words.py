"""`summand words`: what each word of a text adds."""

from __future__ import annotations

from pathlib import Path

from ..studies.words.options import WordsOptions
from .adapter import command
from .options import ModelOptions


@command
def words(text: str, *, image: Path | None = None, options: WordsOptions, model: ModelOptions):
    """Show how much each word of a text adds to its similarity with a picture or another text.

    Examples:

    - summand words "a red star on the left" --image scene.png
    - summand words "a dog on the grass" --versus "a cat" --model ViT-B-16 --pretrained laion2b_s34b_b88k --json

    Parameters
    ----------
    text
        The text to take apart, in quotes.
    image
        Similarity with this picture.
    """
    from .. import words as verb

    return verb(model.load(), text, image, options=options)
