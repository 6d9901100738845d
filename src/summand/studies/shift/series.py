"""A series: the current images batch by batch, each compared with the same reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data import ImageSource
from ...data.tables import read_table
from ...errors import SummandError, nearest
from .compare import ShiftResult, compare
from .options import check_alpha
from .readings import Measured
from .reference import Reference
from .statistics import FEWEST, standardised_difference

_CURVES = 4


def column_of(source: ImageSource, given: str, column: str, count: int | None = None) -> np.ndarray:
    """The values of a column for every image of a source: of the csv or parquet table that lists it, or of the scenes'
    attributes. given, count: what the source was opened from.

    Raises `SummandError` for a source without columns, an unknown column, and a column with missing values.
    """
    table = source.attributes()
    path = Path(given).expanduser()
    if table is None and path.suffix.lower() in (".csv", ".parquet"):
        table = read_table(path)
        if count is not None and count < len(table):
            table = table.iloc[np.linspace(0, len(table) - 1, count).round().astype(int)]
    if table is None:
        raise SummandError(f"{given} has no columns; by= needs a csv or parquet with a column 'path' and this one")
    if column not in table.columns:
        known = [str(name) for name in table.columns]
        raise SummandError(f"{given} has no column {column!r}{nearest(column, known)} (columns: {', '.join(known)})")
    values = table[column]
    if bool(values.isna().any()):
        row = int(np.flatnonzero(values.isna())[0])
        raise SummandError(f"column {column!r} of {given} has no value in row {row + 1}; fill it or leave that row out")
    return values.to_numpy()


def compare_by(
    reference: Reference, current: Measured, values: np.ndarray, *, alpha: float = 0.01, **options: Any
) -> tuple[ShiftResult, list[dict[str, Any]], list[str]]:
    """`compare` of all images, and `over_batches`: each has half of alpha, so that both together raise a false alarm
    with a probability of about alpha, however many batches there are. options: of `compare`.
    """
    check_alpha(alpha)
    result = compare(reference, current, alpha=alpha / 2, **options)
    return result, *over_batches(reference, current, values, alpha=alpha / 2, **options)


def over_batches(
    reference: Reference, current: Measured, values: np.ndarray, *, alpha: float = 0.01, **options: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """One row for each value in order: images, alarm, and the strongest unit; and the batches too small to be tested.

    alpha: of a false alarm in any batch; each is tested at alpha over their number (Bonferroni), which is its row's
    alpha. effects: of the readings that moved most in any batch, by name, for the curve. options: of `compare`.

    Raises `SummandError` where no batch has 8 images.
    """
    of_image = values[current.indices]
    parts = {value: current.rows(np.flatnonzero(of_image == value)) for value in sorted(set(of_image.tolist()))}
    small = [f"{value} ({len(here)})" for value, here in parts.items() if len(here) < FEWEST]
    tested = {value: here for value, here in parts.items() if len(here) >= FEWEST}
    rows, changes = [], []
    for value, here in tested.items():
        result = compare(reference, here, alpha=alpha / len(tested), **options)
        top = result.rows[0]
        changes.append(standardised_difference(reference.measured.readings, here.readings))
        rows.append(
            {"batch": value if isinstance(value, (int, float, str)) else str(value), "images": len(here),
             "alarm": result.alarm, "alpha": result.alpha, "mmd_p": result.mmd_p, **top.row(), "column": top.column}
        )  # fmt: skip
    if not rows:
        raise SummandError(f"no batch has {FEWEST} images: {', '.join(small)}; group them by a coarser column")
    columns = _curves(rows)
    names = [
        f"{reference.readings.names[c]}: {reference.concepts.names[reference.readings.concepts[c]]}" for c in columns
    ]
    for row, change in zip(rows, changes, strict=True):
        row["effects"] = {name: float(change[column]) for name, column in zip(names, columns, strict=True)}
        del row["column"]
    return rows, small


def _curves(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The columns that are strongest in some batch, the strongest first."""
    ordered = sorted(rows, key=lambda row: -row["strength"])
    return list(dict.fromkeys(row["column"] for row in ordered))[:_CURVES]
