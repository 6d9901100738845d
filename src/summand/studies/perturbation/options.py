"""What can be asked of `perturb`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..verb import at_least, one_of

Fill = Literal["mean", "blur"]
Answer = Literal["probability", "logit"]


@dataclass(frozen=True)
class PerturbationOptions:
    """Take patches from pictures, and put them back, in the order in which a map ranks them: does the answer follow?

    Examples:

    - summand perturb scenes:count=50 "a star" "a ring" "a heart" --methods decomposition,chefer,random
    - summand perturb photos/ "a dog" "a cat" --model ViT-B-16 --pretrained laion2b_s34b_b88k --out curves.png

    Parameters
    ----------
    images
        A folder, a table, a zip, tars, or scenes.
    texts
        Two or more, in quotes; each picture is asked about the one that the model finds most similar.
    """

    steps: int = 10
    """At how many equal shares of the patches the model is asked."""
    fill: Fill = "mean"
    """What stands where a patch is missing: the picture's mean colour, or a blur of it."""
    answer: Answer = "probability"
    """The text's softmax probability among all texts, or its cosine (logit)."""
    scale: float | None = None
    """Of the softmax [default: the model's own]."""
    batch_size: int = 64
    """Images a forward pass."""
    methods: str | Sequence[str] | None = None
    """all, or names with commas between [default: those that are best on scenes]."""
    reference: str | None = None
    """Images to learn directions of neurons from [default: scenes for the scenes models]."""
    count: int | None = None
    """Use at most so many pictures."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "count"):
            at_least(name, getattr(self, name), 1)
        one_of("fill", self.fill, ("mean", "blur"))
        one_of("answer", self.answer, ("probability", "logit"))
