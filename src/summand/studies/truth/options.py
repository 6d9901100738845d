"""What can be asked of `truth`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...unit import parse_layers, parse_units
from ..verb import at_least, between


@dataclass(frozen=True)
class TruthOptions:
    """Are the words for a model's units true of the images? Scored on scenes, where the truth is known.

    Examples:

    - summand truth
    - summand truth --units heads,neurons:3-4 --count 3000
    - summand truth --model scenes-vit-tied --count 1000 --layers 4-5 --json
    """

    layers: str | Sequence[int] | None = None
    """Heads of which layers: 8-10,12 [default: the last three]."""
    units: str = "heads"
    """Units whose words are judged: heads, neurons:3-4, pairs, with commas between; heads of the layers above alone."""
    count: int = 5000
    """Fresh scenes that judge."""
    described: int = 2000
    """Other scenes, which the labels are made on: a fifth of them is held out, to choose words and to prove them."""
    pairs: int = 500
    """Pairs of scenes that differ in one attribute, for each of them."""
    dominant: float = 0.5
    """The share of a head's variance from which an attribute dominates it."""
    pool: str = "scenes"
    """Texts that units are described by."""
    seed: int = 0
    """Of all scenes, and of the random texts beside them."""

    def __post_init__(self) -> None:
        if self.layers is not None:
            parse_layers(self.layers)
        parse_units(self.units)
        for option in ("count", "described", "pairs"):
            at_least(option, getattr(self, option), 2)
        between("dominant", self.dominant, 0, 1)
        at_least("seed", self.seed, 0)
