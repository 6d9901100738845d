"""What was exported."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ...models import Model
from ...models.export import Written
from ..columns import Column, Table
from ..result import Result
from ..zeroshot import Classes
from .options import ExportOptions


class Export(Result):
    """A file that runs without Summand.

    rows: file, gives (embedding, scores or weights), megabytes, and off, the largest difference between its answers
    and the model's as a share of the largest number. path: the file. image_size: of the pixels that it reads; classes:
    names of its scores, in their order.
    """

    command: ClassVar[str] = "export"
    path: Path
    image_size: tuple[int, int]
    classes: list[str]

    @classmethod
    def of(cls, written: Written, options: ExportOptions, model: Model, classes: Classes | None) -> Export:
        """Of what was written."""
        row = {
            "file": str(written.path),
            "gives": written.outputs,
            "megabytes": written.bytes / 1e6,
            "off": written.error,
        }
        return cls(
            [row],
            options,
            model=model.name,
            path=written.path,
            image_size=model.tower.image_size,
            classes=[] if classes is None else list(classes.names),
        )

    def tables(self) -> list[Table]:
        columns = (
            Column("file", kind="id"),
            Column("gives", kind="words"),
            Column("megabytes", "MB", form=".1f"),
            Column("off", "largest difference", form=".0e"),
        )
        height, width = self.image_size
        return [Table(self.rows, columns, caption=f"reads pixels [image, 3, {height}, {width}], preprocessed")]
