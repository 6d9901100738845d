"""What can be asked of `retrieve`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...unit import parse_layers, units_of
from ..verb import OptionError, at_least, one_of


@dataclass(frozen=True)
class RetrieveOptions:
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

    units: str | Sequence[str] | None = None
    """Compare by what these write: 22.11, 9:2914, 624x21, commas between [default: the whole representation]."""
    property: str | None = None
    """Compare by it: colour, place, lighting, … (a property of the pool's texts)."""
    along: Literal["texts", "heads"] = "texts"
    """With a property: the whole representation along the property's texts, or all heads that are labelled with it."""
    layers: str | Sequence[int] | None = None
    """With a property and --along heads: heads of these layers, 8-10,12 [default: the last four]."""
    top: int = 16
    """Images that are found."""
    metric: Literal["cosine", "inner"] = "cosine"
    """cosine, or inner (products of lengths too)."""
    uncentred: bool = False
    """Leave the mean over the searched images in."""
    pool: str | None = None
    """Description pool: a name, a text file, or a csv with columns text and property [default: fits the model]."""
    count: int | None = None
    """Search at most so many images."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        if self.units is not None and self.property is not None:
            raise OptionError("units", f"must be left out beside property={self.property!r}: search by one of them")
        if self.layers is not None and self.along == "texts":
            raise OptionError("layers", "is of heads: say along='heads' beside it")
        units_of(self.units or ())
        parse_layers(self.layers or ())
        one_of("along", self.along, ("texts", "heads"))
        one_of("metric", self.metric, ("cosine", "inner"))
        for name in ("top", "count", "batch_size"):
            at_least(name, getattr(self, name), 1)
