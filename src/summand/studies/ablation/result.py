"""Accuracies with terms replaced by their means, as a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Int

from ...atomic import replacing
from ...data import ImageSource
from ..columns import Column, Table
from ..reading import unread
from ..result import Result
from .accuracy import Accuracies
from .options import AblateOptions
from .variance import Explained


class Ablations(Result):
    """Zero-shot accuracy with one set of terms after the other replaced by its mean.

    rows: ablation (in words), family (the experiment it belongs to), series and x (the line it is a point of, and
    where), accuracy, drop = baseline − accuracy. baseline: of the model as it is. images: how many. classes: their
    names. axes: family → what x is. variance: what the first principal component explains, where that was asked.
    """

    command: ClassVar[str] = "ablate"
    drawn_by: str | None = "summand.report.ablation:figure"
    baseline: float
    images: int
    classes: list[str]
    axes: dict[str, str]
    variance: list[dict[str, Any]]
    classified: pd.DataFrame
    """What each image was taken for: image, label, `nothing` (by the model as it is), and a column an ablation."""

    @classmethod
    def of(
        cls,
        made: Accuracies,
        options: AblateOptions,
        source: ImageSource,
        classes: Sequence[str],
        shares: Sequence[Explained] = (),
        **about: Any,
    ) -> Ablations:
        """Of what was measured."""
        rows = [
            {
                "ablation": row.version.name,
                "family": row.version.family,
                "series": row.version.series,
                "x": row.version.x,
                "accuracy": row.accuracy,
                "drop": row.drop,
            }
            for row in made.rows
        ]
        found = cls(
            rows,
            options,
            data=source.label,
            notes=unread(made.skipped),
            baseline=made.baseline,
            images=len(made.labels),
            classes=list(classes),
            axes=made.axes,
            variance=[share.row() for share in shares],
            **about,
        )
        found.classified = _classified(made, source, np.array(classes, dtype=object))
        return found

    def tables(self) -> list[Table]:
        whole = {"ablation": "nothing", "accuracy": 100 * self.baseline, "change": None}
        rows = [
            {"ablation": name, "accuracy": 100 * accuracy, "change": 0.0 - 100 * drop}
            for name, accuracy, drop in self.rows[["ablation", "accuracy", "drop"]].itertuples(index=False)
        ]
        columns = (
            Column("ablation", "replaced by the mean", kind="words"),
            Column("accuracy", "accuracy, %", form=".1f"),
            Column("change", form="+.1f"),
        )
        title = f"Zero-shot accuracy of {self.model}, {self.images} images, {len(self.classes)} classes"
        return [Table(pd.DataFrame([whole, *rows]), columns, title), *self._explained()]

    def _explained(self) -> list[Table]:
        if not self.variance:
            return []
        columns = (
            Column("effects", kind="id"),
            Column("layer"),
            Column("units"),
            Column("largest", "of the largest", form=_percent),
            Column("everywhere", "of all images", form=_percent),
        )
        title = "Variance that the first principal component explains, mean over units"
        return [Table(pd.DataFrame(self.variance).astype({"layer": object}), columns, title)]

    def save_more(self, folder: Path) -> dict[str, Path]:
        path = folder / "classified.csv"
        with replacing(path) as temporary:
            self.classified.to_csv(temporary, index=False)
        return {"classified": path}


def _classified(made: Accuracies, source: ImageSource, names: np.ndarray) -> pd.DataFrame:
    columns: dict[str, Any] = {"image": [source.name(int(index)) for index in made.indices]}
    columns["label"] = _named(names, made.labels)
    versions = ["nothing", *(version.name for version in made.versions)]
    return pd.DataFrame(columns | {name: _named(names, row) for name, row in zip(versions, made.guesses, strict=True)})


def _named(names: np.ndarray, codes: Int[np.ndarray, " image"]) -> np.ndarray:
    return names[codes]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
