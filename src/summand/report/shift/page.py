"""What `shift` found, drawn: a figure, and one HTML page with its pictures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ...data import ImageSource
from ...data.pictures import shown
from ...studies.shift.compare import UnitShift, moved
from ...studies.shift.result import Compared, Shift
from .. import figures
from ..html import pages

_UNITS, _PICTURES, _SIDE = 3, 7, 128


def page(result: Shift) -> str:
    """One HTML page with its pictures inside."""
    made = result.compared
    assert made is not None
    by = result.options.by or "batches"
    return (
        pages("summand.report.shift")
        .get_template("report.html.j2")
        .render(
            result=made.result,
            reference=made.reference.label,
            current=made.label,
            model=made.reference.model,
            random_weights=made.random_weights,
            strange=made.strange,
            concepts=result.concepts,
            series=result.series,
            by=by,
            series_figure=_embedded(_series_figure(result.series, by)) if result.series else None,
            pictures=[_pictures(made, row) for row in made.result.changed[:_UNITS]],
            skipped=len(made.current.skipped),
        )
    )


def figure(result: Shift) -> Any:
    """Of the units of strongest change both distribution functions; below, where there are batches, the series."""
    made = result.compared
    if made is None:
        return None
    rows = made.result.rows[:_UNITS]
    with figures.style():
        drawn, axes = figures.panels(len(rows) + bool(result.series), 3.8, 2.8, columns=2 if result.series else 3)
        for one, row in zip(axes, rows, strict=False):
            _distributions(one, *_readings(made, row))
            title = f"{row.unit}: {row.concept}\n{row.effect:+.2f} σ, p corrected {row.q:.1e}"
            one.set_title(title.replace("-", "−"), fontsize=8, parse_math=False)
        if result.series:
            _curves(axes[-1], result.series, result.options.by or "batches")
            axes[-1].legend(fontsize=6)
        return drawn


def _readings(made: Compared, row: UnitShift) -> tuple[np.ndarray, np.ndarray]:
    return made.reference.measured.readings[:, row.column], made.current.readings[:, row.column]


def _pictures(made: Compared, row: UnitShift) -> dict[str, Any]:
    before, after = _readings(made, row)
    middle = np.argsort(np.abs(before - np.median(before)), kind="stable")[:_PICTURES]
    with figures.style():
        drawn, (axes,) = figures.panels(1, 3.4, 2.4)
        _distributions(axes, before, after)
    return {
        "row": row,
        "current": _thumbnails(made.source, moved(row, made.current, _PICTURES)),
        "reference": _thumbnails(made.reference_source, made.reference.measured.indices[middle]),
        "figure": _embedded(drawn),
    }


def _thumbnails(source: ImageSource | None, indices: np.ndarray) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    if source is None:  # only numbers are at hand
        return found
    for index in indices:
        picture = shown(partial(source.image, int(index)))
        picture.thumbnail((_SIDE, _SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        found.append({"name": source.name(int(index)), "source": f"data:image/png;base64,{data}"})
    return found


def _distributions(axes: Any, before: np.ndarray, after: np.ndarray) -> None:
    """Both distribution functions: where they are furthest apart is what the test measures."""
    for place, (values, label) in enumerate(((before, "reference"), (after, "current"))):
        style = {key: value for key, value in figures.STYLES[place].items() if key != "marker"}
        axes.plot(np.sort(values), np.arange(1, len(values) + 1) / len(values), label=label, **style)
    axes.set_xlabel("reading")
    axes.set_ylabel("share of images below")
    axes.legend()


def _series_figure(series: Sequence[dict[str, Any]], by: str) -> Any:
    with figures.style():
        drawn, (axes,) = figures.panels(1, 8, 2.8)
        _curves(axes, series, by)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return drawn


def _curves(axes: Any, series: Sequence[dict[str, Any]], by: str) -> None:
    """The readings that moved most in any batch, batch after batch, in deviations of the reference."""
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


def _embedded(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
