"""What can be asked of `subconcepts`."""

from __future__ import annotations

from dataclasses import dataclass

from ..verb import at_least


@dataclass(frozen=True)
class SubconceptsOptions:
    """Options of `summand.subconcepts`."""

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
