"""What can be asked of `summand atlas`."""

from __future__ import annotations

from dataclasses import dataclass

from .verb import at_least


@dataclass(frozen=True)
class AtlasOptions:
    """Options of `summand atlas`."""

    pool: str | None = None
    """Description pool: a name or a text file [default: fits the model]."""
    layers: str | None = None
    """Layers whose heads get a page each, such as 8-11 [default: the last four]."""
    size: int = 10
    """Texts a head."""

    def __post_init__(self) -> None:
        at_least("size", self.size, 1)
