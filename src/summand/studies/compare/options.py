"""What can be asked of `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

from ..load_options import LoadOptions
from ..verb import at_least, one_of

Loaded = TypeVar("Loaded", bound=LoadOptions)


@dataclass(frozen=True)
class CompareOptions:
    """Say what changed from one model to another: a base and its fine-tuned model, two seeds, two sizes.

    Which properties gained or lost share in the representation, which are tied that were not, which are read
    otherwise; which heads and neurons changed; which images moved most, and through what. A change is named where it is
    larger than other images would make it of one and the same model.

    Examples:

    - summand compare scenes-vit-tied --model scenes-vit
    - summand compare ViT-B-32 photos/ --checkpoint-b tuned.pt -m ViT-B-32 -p openai --out changed
    - summand compare scenes-rn scenes:count=500 --units heads --json

    Parameters
    ----------
    b
        The other model, as --model takes it; the first is that of --model.
    images
        Images that both are shown [default: those of the model's world].
    """

    pool: str | Sequence[str] | None = None
    """Texts that changes are said in: a pool, a text file or texts [default: the first model's own]."""
    units: str | None = None
    """Which units are compared: heads, heads,neurons:8-10 [default: heads, and neurons where there are]."""
    matching: Literal["auto", "index", "correlation"] = "auto"
    """Which unit is set against which: that of the same name, or the one with the likest effects [default: by name
    where most of these go together]."""
    top: int = 10
    """Words, units and images that are listed."""
    draws: int = 200
    """Draws of images that say what they alone would change."""
    count: int | None = None
    """Use at most so many images."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        one_of("matching", self.matching, ("auto", "index", "correlation"))
        for name, least in (("top", 1), ("draws", 20), ("count", 40), ("batch_size", 1)):
            at_least(name, getattr(self, name), least)


@dataclass(frozen=True)
class OtherModel:
    """Which weights the other model has; all else is as of the first."""

    GROUP: ClassVar[str] = "Model"

    pretrained_b: str | None = None
    """open_clip's tag of the other model's weights, or a checkpoint file."""
    checkpoint_b: str | None = None
    """A file of fine-tuned weights of the other model; beside a tag, which says what they were fine-tuned from."""

    def of(self, name: str, first: Loaded) -> Loaded:
        """How the other model is loaded."""
        own = {"model": name, "pretrained": self.pretrained_b, "checkpoint": self.checkpoint_b}
        return replace(first, **own, ablation=None, steer=None)
