"""What can be asked of a survey, of its labels, and of one unit of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..verb import OptionError, at_least


@dataclass(frozen=True)
class SurveyOptions:
    """Options of `summand survey`."""

    units: str | None = None
    """heads, neurons, neurons:8-10, pairs, with commas between [default: fits the model]."""
    held_out: float = 0.2
    """Share of the images kept aside to score labels (at most 1,000)."""
    top: int | None = None
    """Images kept for a unit; 0 saves a pass [default: 2 % of them, 20 to 100]."""
    restart: bool = False
    """Replace the survey that is in the folder."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise OptionError("held_out", f"is a share from 0 to below 1, got {self.held_out}")
        at_least("top", self.top, 0)


@dataclass(frozen=True)
class LabelOptions:
    """Options of `summand label`."""

    pool: str | None = None
    """Description pool: a name or a text file [default: fits the model]."""
    size: int = 3
    """Texts a unit, and words an end at most."""
    most: int | None = None
    """Of neurons and pairs label only so many, the most important."""
    all: bool = False
    """Show every unit, not the most telling ones alone."""

    def __post_init__(self) -> None:
        at_least("size", self.size, 1)
        at_least("most", self.most, 1)


@dataclass(frozen=True)
class UnitOptions:
    """Options of `summand unit`."""

    top: int = 8
    """Pictures a row."""

    def __post_init__(self) -> None:
        at_least("top", self.top, 1)
