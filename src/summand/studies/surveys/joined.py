"""Surveys of the same model over different images, joined, as a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...survey import open_survey
from ...survey.merging import merge as merged
from ..columns import Column, Table
from ..result import Result
from .options import MergeOptions
from .run import FOLDER


class Joined(Result):
    """rows: a survey each, of survey (its folder), images (that were read), held_out (of them). certain: the share of
    the units whose top images are surely those of all images together. run: the folder of the whole."""

    command: ClassVar[str] = "merge"
    run: str
    certain: float

    def tables(self) -> list[Table]:
        columns = (
            Column("survey", kind="words"),
            Column("images", form=","),
            Column("held_out", "held out", form=","),
        )
        caption = (
            f"{self.more['images']:,} images; top images are surely those of all of them for "
            f"{100 * self.certain:.1f} % of the units\n{Path(self.run).resolve()}  next: summand label {self.run}"
        )
        return [Table(self.rows, columns, caption=caption)]

    def save(self, place: str | Path) -> dict[str, Path]:
        """It stands in its folder already."""
        return {"survey": Path(self.run)}


def merge(surveys: Sequence[str | Path], out: str | Path | None, options: MergeOptions) -> Joined:
    """`survey.merging.merge`, of folders."""
    out = FOLDER if out is None else out
    opened = [open_survey(folder) for folder in surveys]
    found = merged(opened, out, exact=options.exact, batch_size=options.batch_size)
    rows: list[dict[str, Any]] = [
        {"survey": str(folder), "images": len(each.images), "held_out": len(each.held_out_images)}
        for folder, each in zip(surveys, opened, strict=True)
    ]
    notes = []
    if found.certain < 1:
        notes.append(
            "of the other units an image may be missing that no part kept, for each part chose by distance from its "
            "own mean; exact=True passes all images once more"
        )
    return Joined(rows, options, model=found.survey.manifest.model, data=found.survey.manifest.source, notes=notes,
                  run=str(out), certain=found.certain, images=len(found.survey.images))  # fmt: skip
