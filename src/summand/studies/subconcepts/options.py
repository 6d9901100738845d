"""What can be asked of `subconcepts`."""

from __future__ import annotations

from dataclasses import dataclass

from ..verb import at_least


@dataclass(frozen=True)
class SubconceptsOptions:
    """Set the top images of a neuron in front of an attention pool against those of its pairs with single heads.

    The inertia of the images' embeddings says how alike they are: 0 where all are the same. A neuron with a high
    inertia and pairs with a low one has several meanings, and the pairs tell them apart.

    Examples:

    - summand subconcepts scenes:count=1000 100
    - summand subconcepts scenes:count=1000
    - summand subconcepts photos/ 624 --model RN50x16 --pretrained openai --out butterfly.png --json

    Parameters
    ----------
    images
        A folder, a table, a zip, tars, scenes[:…], or the folder of a survey.
    unit
        Which neurons: 624, or 5,100 [default: all of them].
    """

    top: int = 10
    """Top images of a unit."""
    drawn: int = 4
    """Pairs drawn below a neuron, the most alike first."""
    pool: str | None = None
    """Texts to name units by: a name or a text file [default: fits the model]."""
    count: int | None = None
    """Use at most so many images."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        for name, least in (("top", 2), ("drawn", 0), ("count", 1), ("batch_size", 1)):
            at_least(name, getattr(self, name), least)
