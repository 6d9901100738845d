"""What `segment` found."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...atomic import replacing
from ...data.masks import MaskSource
from ..columns import Column, Table
from ..result import Result
from .options import SegmentOptions
from .protocol import Example, Protocol, Scores

_COLUMNS = {
    "pixel_accuracy": "pixels",
    "mIoU": "mIoU",
    "mAP": "mAP",
    "AP": "AP",
    "pixel_accuracy_without_background": "no bg.: pixels",
    "mIoU_without_background": "mIoU",
    "deletion_positive": "del.",  # least relevant first is the insertion curve read backwards
    "insertion_positive": "ins.",
    "cost": "cost",
}


class Segmentation(Result):
    """How well each method's maps cover the masks.

    rows: method, title, its scores over the data set (from 0 to 1), and cost, in passes of `encode_image`. per_image:
    the same of every picture. examples: pictures with every method's map, for the figure. images: how many were scored;
    skipped: those that could not be read. task: "figures" or "classes". protocol: as it was carried out. treated: which
    methods' texts were less their mean, and the part of their maps that was scored. refused: why a method does not
    apply to this model.
    """

    command: ClassVar[str] = "segment"
    drawn_by: str | None = "summand.report.segmentation:figure"
    images: int
    task: str
    protocol: Protocol
    treated: dict[str, dict[str, Any]]
    refused: dict[str, str]

    def __init__(
        self, scores: Scores, titles: dict[str, str], options: SegmentOptions, source: MaskSource, **more: Any
    ) -> None:
        rows = [{"method": name, "title": titles[name], **found} for name, found in scores.scores.items()]
        found = {"task": scores.task, "images": scores.images, "protocol": scores.protocol}
        super().__init__(rows, options, data=source.label, skipped=scores.skipped, **found, **more)
        self.per_image: pd.DataFrame = scores.per_image
        self.examples: list[Example] = scores.examples
        self.titles, self.classes, self.background = titles, source.classes, source.background
        if not self.examples:
            self.drawn_by = None

    def tables(self) -> list[Table]:
        shown = [Column("method", kind="id")]
        perturbed = "deletion_positive" in self.rows
        for name, title in _COLUMNS.items():
            if name in self.rows and not (perturbed and name == "pixel_accuracy"):  # 80 columns hold six numbers
                shown.append(Column(name, title, form=".2f" if name == "cost" else _per_cent))
        order = "AP" if "AP" in self.rows else "mIoU"
        rows = self.rows.sort_values(order, ascending=False, kind="stable")
        return [Table(rows, shown, f"{self.images} pictures of {self.data}", "\n".join(self._caption()))]

    def _caption(self) -> list[str]:
        found = [
            f"In per cent; cost in passes of encode_image, a shared pass counted for each. Model: {self.model}.",
            f"Protocol: {self.protocol.describe(self.task)}.",  # type: ignore[arg-type]
            f"Treated: {self._said_of_treatments()}.",
        ]
        if "deletion_positive" in self.rows:
            found.append(
                "del., ins.: deletion and insertion, the area under the class's answer while patches are taken from "
                "(put into) the picture, the most relevant first; small (large) is good."
            )
        if self.refused:
            found.append(f"Does not apply to this model: {', '.join(self.refused)} (why: refused).")
        return found

    def _said_of_treatments(self) -> str:
        groups: dict[str, list[str]] = {}
        for name, how in self.treated.items():
            groups.setdefault(f"{'contrast' if how['contrast'] else 'plain text'}, {how['shape']}", []).append(name)
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items())

    def save_more(self, folder: Path) -> dict[str, Path]:
        """Scores of every picture."""
        path = folder / "per_image.parquet"
        with replacing(path) as temporary:
            self.per_image.to_parquet(temporary, index=False)
        return {"per_image": path}


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f}"
