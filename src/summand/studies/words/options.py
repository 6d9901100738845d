"""What can be asked of `words`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordsOptions:
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

    versus: str | None = None
    """Similarity with this text [default: the text itself]."""
