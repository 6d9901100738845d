"""The options that commands share: which model, how it is computed, and what becomes of the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..studies.load_options import Compute as Compute
from ..studies.load_options import LoadOptions


@dataclass(frozen=True)
class ModelOptions(LoadOptions):
    """Which CLIP, and how it is loaded."""

    def load(self, *given: Any) -> Any:
        """The model; warns on stderr of random weights, and of pictures in `given` that it cannot know."""
        from .loading import load

        return load(self, given)


@dataclass(frozen=True)
class OwnModelOptions(ModelOptions):
    """The same for commands that may be given a survey, which knows its model."""

    USUAL: ClassVar[str] = "scenes-vit"

    model: str | None = None  # type: ignore[assignment]
    """As in the other commands [default: the survey's own, else scenes-vit]."""

    def load(self, *given: Any) -> Any:
        """The model that was asked for; else that of the first survey among `given`; else the usual one. given: also
        what `images_of` opened."""
        from .loading import load_own

        return load_own(self, given)


@dataclass(frozen=True)
class PoolModelOptions(OwnModelOptions):
    """The same for studies of an attention pool."""

    USUAL: ClassVar[str] = "scenes-rn"

    model: str | None = None  # type: ignore[assignment]
    """A model with an attention pool [default: the survey's own, else scenes-rn]."""


@dataclass(frozen=True)
class Show:
    """What becomes of the result."""

    GROUP: ClassVar[str] = "Output"

    out: Path | None = None
    """A folder for all of the result, or a name in .png, .svg, .pdf (figure), .csv, .parquet (rows) or .json."""
    json: bool = False
    """One machine-readable result on stdout, nothing else there; --config makes it again."""
    config: Path | None = None
    """A .toml file with these options by name, or a .json result whose options are taken."""
