"""What `perturb` found."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...atomic import replacing
from ..columns import Column, Table
from ..result import Result
from .curves import AREAS
from .options import PerturbationOptions

_TITLES = dict(zip(AREAS, ("taken away", "least first", "put in", "least first"), strict=True))


class Perturbation(Result):
    """How faithful each method's maps are, by the model's own answer.

    rows: method, title, and the mean area under each curve: deletion_positive (small is good), deletion_negative
    (large), insertion_positive (large), insertion_negative (small). per_image: the same of every picture, with the text
    that it was asked about. curves: method → curve → its mean answer at each of `shares` of the patches.
    """

    command: ClassVar[str] = "perturb"
    drawn_by: str | None = "summand.report.perturbation:figure"
    shares: list[float]
    curves: dict[str, dict[str, list[float]]]

    def __init__(
        self, per_image: pd.DataFrame, titles: dict[str, str], options: PerturbationOptions, **more: Any
    ) -> None:
        rows = [
            {
                "method": name,
                "title": titles[str(name)],
                **{area: float(of_it[area].to_numpy().mean()) for area in AREAS},
            }
            for name, of_it in per_image.groupby("method", sort=False)
        ]
        super().__init__(rows, options, **more)
        self.per_image, self.titles = per_image, titles

    def tables(self) -> list[Table]:
        columns = [Column("method", kind="id"), *(Column(name, title, form=".3f") for name, title in _TITLES.items())]
        rows = self.rows.sort_values("deletion_positive", kind="stable")
        what = "cosine" if self.options.answer == "logit" else "probability"
        caption = (
            f"Area under the text's {what} while patches are taken from (put into) the picture, the most relevant first"
            f" or the least: small, large, large and small are good. Model: {self.model}."
        )
        return [Table(rows, columns, f"{self.images} pictures of {self.data}", caption)]

    def save_more(self, folder: Path) -> dict[str, Path]:
        """Areas of every picture."""
        path = folder / "per_image.parquet"
        with replacing(path) as temporary:
            self.per_image.to_parquet(temporary, index=False)
        return {"per_image": path}
