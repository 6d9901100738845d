"""What can be asked of `match`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..verb import OptionError, at_least


@dataclass(frozen=True)
class MatchOptions:
    """Say why two things are alike: which patch goes with which word, or patch, or which word with which word.

    The cosine of an image and a text, of two images or of two texts, as an exact matrix of their tokens and a rest
    that is named.

    Examples:

    - summand match scene.png "a red star and a blue ring"
    - summand match scene.png "a red star and a blue ring" --contrast "a green star and a white ring"
    - summand match one.png other.png --reference scenes
    - summand match "a red star" "a crimson object" --text-heads 2.1,3.0 --json

    Parameters
    ----------
    a
        A picture, or a text in quotes.
    b
        Another picture or text.
    reference
        Images, or a survey, whose mean is taken away from pictures; a labelled survey also names heads.
    """

    contrast: str | Sequence[str] | None = None
    """Texts whose mean is taken away from texts, word by word: texts, a pool or a text file."""
    layers: str | Sequence[int] | None = None
    """Only what goes through these layers of the image tower: 4, 3-5 or 3,5."""
    heads: str | Sequence[str] | None = None
    """Only what goes through these heads of the image tower: 5.3,4.0."""
    text_layers: str | Sequence[int] | None = None
    """The same of the text tower."""
    text_heads: str | Sequence[str] | None = None
    """The same of the text tower."""
    top: int = 10
    """Pairs that are listed, and lines that are drawn."""
    count: int | None = None
    """Use at most so many images of the reference [default: 500]."""
    batch_size: int = 32
    """Images a forward pass."""

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("count", 1), ("batch_size", 1)):
            at_least(name, getattr(self, name), least)
        for layers, heads in (("layers", "heads"), ("text_layers", "text_heads")):
            if getattr(self, layers) is not None and getattr(self, heads) is not None:
                raise OptionError(heads, f"and {layers} say the same twice; give one of them")
