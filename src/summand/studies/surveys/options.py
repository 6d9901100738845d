"""What can be asked of a survey, of its labels, and of one unit of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..verb import OptionError, at_least


@dataclass(frozen=True)
class SurveyOptions:
    """Take every image apart and keep statistics of all units: moments, top images, held-out coefficients.

    Stopped half-way, the same command goes on where it was. `summand label` then puts the units into words.

    Examples:

    - summand survey --out run
    - summand survey scenes:count=2000,seed=7 --model scenes-rn --units heads,pairs --out rn
    - summand survey photos/ --model ViT-B-32 --pretrained openai --units heads,neurons:8-10 --out b32

    Parameters
    ----------
    images
        A folder, a table, a zip, tars, or scenes[:key=value,…].
    """

    units: str | None = None
    """heads, neurons, neurons:8-10, pairs, with commas between [default: fits the model]."""
    held_out: float = 0.2
    """Share of the images kept aside to score labels (at most 1,000)."""
    top: int | None = None
    """Images kept for a unit; 0 saves a pass [default: 2 % of them, 20 to 100]."""
    keep: str | None = None
    """Units whose coefficients are kept for every image: heads,neurons:9."""
    dtype: Literal["float16", "float32"] = "float16"
    """Of kept coefficients."""
    engine: Literal["local", "ray"] = "local"
    """ray computes on a Ray cluster, or on a Ray of this machine."""
    max_skipped: float = 0.01
    """Share of the images that may be unreadable before the survey stops; ten never stop it."""
    column: str | None = None
    """Of a table that holds paths or pictures in a column of another name; elsewhere say TABLE#COLUMN."""
    restart: bool = False
    """Replace the survey that is in the folder."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise OptionError("held_out", f"is a share from 0 to below 1, got {self.held_out}")
        if not 0 <= self.max_skipped <= 1:
            raise OptionError("max_skipped", f"is a share from 0 to 1, got {self.max_skipped}")
        at_least("top", self.top, 0)


@dataclass(frozen=True)
class InfoOptions:
    """Tell what is in a survey, finished or not, and compare every file with its checksum.

    Exits with 0 where all is as it was written, and with 1 where a file is damaged or missing, which is named.

    Examples:

    - summand info run

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    """


@dataclass(frozen=True)
class MergeOptions:
    """Join surveys of the same model and units over different images into one, in a new folder.

    Moments merge exactly. Top images are chosen anew among those that each survey kept; held-out images go through the
    model once more. Labels are made anew: `summand label`.

    Examples:

    - summand merge monday tuesday --out week
    - summand merge part-* --out whole --exact

    Parameters
    ----------
    surveys
        Folders of `summand survey`.
    """

    exact: bool = False
    """Pass all images once more, so that no top image can be missing."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)


@dataclass(frozen=True)
class LabelOptions:
    """Put every unit into words that its images show, and prove them on images that were held out.

    Both ends of a unit's directions are given words on one half of the held-out images, and the words are proven, or
    not, on the other half. What is not proven is shown as such. Writes labels.parquet and labels.csv into the survey.

    Examples:

    - summand label run
    - summand label run --pool general --size 1
    - summand label run --pool my-texts.txt --all

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    device
        auto, cpu, cuda, cuda:1, mps.
    """

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
    """Tell and show a head, a neuron or a pair: its words, what they are worth on held-out images, its top images.

    Examples:

    - summand unit run 10.3
    - summand unit run 10.3 --out unit.png --json

    Parameters
    ----------
    survey
        A folder of `summand survey`.
    unit
        Which one, such as 10.3, 9:2914 or 624x21.
    """

    top: int = 8
    """Pictures a row."""

    def __post_init__(self) -> None:
        at_least("top", self.top, 1)
