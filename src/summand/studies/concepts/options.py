"""What can be asked of `concepts`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..verb import at_least


@dataclass(frozen=True)
class ConceptsOptions:
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

    layers: str | Sequence[int] | None = None
    """Of the neurons: 9, 8-10 or 8,10 [default: the last three with later attention]."""
    top: int = 10
    """Words of the neurons that are shown."""
    size: int | None = None
    """Texts in a neuron's description [default: 128 of a large pool, else 4]."""
    own_size: int = 8
    """Texts in the picture's own description, which comes first."""
    maps: int = 3
    """Draw maps of so many texts of the picture's own description; 0 draws nothing."""
    protocol: Literal["paper"] | None = None
    """paper: weigh words by norms, as the paper's notebook, not by signed projections."""
    pool: str | None = None
    """Words to choose from: a name or a text file [default: words-30k]."""
    count: int | None = None
    """Use at most so many images of the reference."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("size", 1), ("own_size", 1), ("maps", 0), ("count", 1), ("batch_size", 1)):
            at_least(name, getattr(self, name), least)
