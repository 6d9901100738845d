"""The report of a shift: one HTML file with its pictures inside, and the same as JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ...data import ImageSource
from ...errors import SummandError
from ...studies.shift.compare import ShiftResult, UnitShift
from ...studies.shift.readings import Measured
from ...studies.shift.reference import Reference
from .. import figures

_UNITS, _PICTURES, _SIDE = 3, 7, 128


@dataclass(frozen=True)
class Report:
    """Everything that goes into a report.

    source: of the current images; reference_source: of the reference's, None where only its numbers are at hand.
    series: one row a batch, from `over_batches`; concepts: rows of named concepts.
    """

    result: ShiftResult
    reference: Reference
    current: Measured
    source: ImageSource
    reference_source: ImageSource | None = None
    series: Sequence[dict[str, Any]] = ()
    by: str | None = None
    concepts: Sequence[dict[str, Any]] = ()
    random_weights: bool = False
    strange: str | None = None

    def write(self, page: Path, results: dict[str, Any]) -> None:
        """The page, and `results` beside it as .json. Raises `SummandError` where they cannot be written."""
        pages = Environment(loader=PackageLoader("summand.report.shift"), autoescape=True, undefined=StrictUndefined)
        text = pages.get_template("report.html.j2").render(
            result=self.result,
            reference=self.reference.label,
            current=self.source.label,
            model=self.reference.model,
            random_weights=self.random_weights,
            strange=self.strange,
            concepts=self.concepts,
            series=self.series,
            by=self.by,
            series_figure=_embedded(_series_figure(self.series, self.by)) if self.series else None,
            pictures=[self._pictures(row) for row in self.result.changed[:_UNITS]],
            skipped=len(self.current.skipped),
        )
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
            page.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise SummandError(f"cannot write {page}: {error.strerror or error}; choose another --out") from error

    def moved(self, row: UnitShift) -> np.ndarray:
        """The current images that read furthest to the side a unit moved to, as numbers in their source."""
        after = self.current.readings[:, row.column]
        order = np.argsort(-after if row.effect > 0 else after, kind="stable")[:_PICTURES]
        return self.current.indices[order]

    def _pictures(self, row: UnitShift) -> dict[str, Any]:
        before, after = self.reference.measured.readings[:, row.column], self.current.readings[:, row.column]
        usual: list[dict[str, str]] = []
        if self.reference_source is not None:
            middle = np.argsort(np.abs(before - np.median(before)), kind="stable")[:_PICTURES]
            usual = _thumbnails(self.reference_source, self.reference.measured.indices[middle])
        return {
            "row": row,
            "current": _thumbnails(self.source, self.moved(row)),
            "reference": usual,
            "figure": _embedded(_distribution_figure(before, after)),
        }


def _thumbnails(source: ImageSource, indices: np.ndarray) -> list[dict[str, str]]:
    found = []
    for index in indices:
        picture = source.image(int(index)).convert("RGB")
        picture.thumbnail((_SIDE, _SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        found.append({"name": source.name(int(index)), "source": f"data:image/png;base64,{data}"})
    return found


def _distribution_figure(before: np.ndarray, after: np.ndarray) -> Any:
    """Both distribution functions: where they are furthest apart is what the test measures."""
    with figures.style():
        figure, (axes,) = figures.panels(1, 3.4, 2.4)
        for place, (values, label) in enumerate(((before, "reference"), (after, "current"))):
            style = {key: value for key, value in figures.STYLES[place].items() if key != "marker"}
            axes.plot(np.sort(values), np.arange(1, len(values) + 1) / len(values), label=label, **style)
        axes.set_xlabel("reading")
        axes.set_ylabel("share of images below")
        axes.legend()
        return figure


def _series_figure(series: Sequence[dict[str, Any]], by: str | None) -> Any:
    """The readings that moved most in any batch, batch after batch, in deviations of the reference."""
    with figures.style():
        figure, (axes,) = figures.panels(1, 8, 2.8)
        batches = [str(row["batch"]) for row in series]
        for place, name in enumerate(series[0]["effects"]):
            figures.line(axes, place, range(len(batches)), [row["effects"][name] for row in series], name)
        for at, row in enumerate(series):
            if row["alarm"]:
                axes.axvspan(at - 0.5, at + 0.5, color="#eeeeee", zorder=0)
        axes.axhline(0, **figures.BASE_LINE)
        axes.set_xticks(range(len(batches)), batches, rotation=0 if len(batches) < 12 else 60)
        axes.set_xlabel(f"{by} (shaded: alarm)")
        axes.set_ylabel("change of the mean, σ")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return figure


def _embedded(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
