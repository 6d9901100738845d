"""The nearest images, as a result."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from PIL import Image

from ...data import ImageSource
from ..columns import Column, Table
from ..result import Result


class Retrieved(Result):
    """The nearest images.

    rows: rank, image (its name), index (its number in the source), score, and, of scenes, attributes. units: what the
    images were compared by; none: the whole representation, along so many axes of a property's texts where axes > 0.
    searched: how many images were. skipped: files that could not be read.
    """

    command: ClassVar[str] = "retrieve"
    drawn_by: str | None = "summand.report.retrieve:figure"
    units: list[str]
    axes: int
    searched: int
    skipped: list[dict[str, str]]

    def __init__(self, rows: Any, options: Any, *, picture: Image.Image, source: ImageSource, **more: Any) -> None:
        super().__init__(rows, options, **more)
        self.picture, self.source = picture, source

    @property
    def title(self) -> str:
        """What the images are nearest by."""
        if self.axes:
            return f"nearest by {self.options.property}: along its texts ({self.axes} axes)"
        by = ", ".join(self.units) or "everything"
        return f"nearest by {f'{self.options.property}: heads ' if self.options.property else ''}{by}"

    def tables(self) -> list[Table]:
        columns = [Column("score", form=".3g"), Column("image", kind="words")]
        rows = self.rows
        if "attributes" in rows:
            rows = rows.assign(shows=[", ".join(map(str, each.values())) for each in rows["attributes"]])
            columns.append(Column("shows", kind="words"))
        return [Table(pd.DataFrame(rows), columns, f"{self.title} ({self.searched} images searched)")]
