"""What can be asked of `registers`."""

from __future__ import annotations

from dataclasses import dataclass

from ..verb import OptionError, at_least


@dataclass(frozen=True)
class RegistersOptions:
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
        Images to look at: a folder, a table, a zip, tars, the folder of a survey, or scenes.
    """

    top: int = 10
    """How many of the neurons that make the sink most are neutralised."""
    ratio: float = 3.0
    """By how much a sink exceeds what is usual."""
    patch: int | None = None
    """Of a CLIP-ResNet: the patch, row by row [default: the most attended]."""
    seed: int = 0
    """Of the random control."""
    count: int | None = None
    """Use at most so many images."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        for name in ("top", "count", "batch_size"):
            at_least(name, getattr(self, name), 1)
        at_least("patch", self.patch, 0)
        at_least("seed", self.seed, 0)
        if not self.ratio > 1:
            raise OptionError("ratio", f"must be above 1, for a sink exceeds what is usual; got {self.ratio}")
