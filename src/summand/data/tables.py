"""Tables of images: csv with any separator, tsv, parquet, JSON lines, or a text file with a path a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SummandError, first_line, listed, nearest

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".txt")
"""Endings of files that are read as tables."""
COLUMNS = ("path", "file_name", "filename", "img_filename", "image_path", "filepath", "file", "image", "img", "bytes")
"""Columns that hold images or their paths, the first that is there is taken."""
SPLITS = {"train": 0, "val": 1, "test": 2}
_SEPARATORS = ",;\t|"


def read_table(path: Path) -> pd.DataFrame:
    """The rows of a file, its columns' names without blanks around them. Of a text file one column, `path`.

    Raises `SummandError` for one that cannot be read or has no rows.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".parquet":
            table = pd.read_parquet(path)
            for at in range(table.shape[1]):
                table.iloc[:, at].to_numpy()  # texts are decoded only now, and may be none
        elif ending in (".jsonl", ".ndjson"):
            lines = [line for line in _text(path).splitlines() if line.strip()]
            table = pd.DataFrame([json.loads(line) for line in lines])
        elif ending == ".txt":
            lines = [line.strip() for line in _text(path).splitlines()]
            table = pd.DataFrame({"path": [line for line in lines if line and not line.startswith("#")]})
        else:
            table = _csv(_text(path), "\t" if ending == ".tsv" else None)
    except SummandError:
        raise
    except Exception as error:  # the readers raise whatever their parsers do
        raise SummandError(f"{path} could not be read as a table: {first_line(error)}") from error
    if not isinstance(table.index, pd.RangeIndex) and table.index.names != [None]:
        table = table.reset_index()
    table = table.reset_index(drop=True)
    table.columns = [str(name).strip() for name in table.columns]
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise SummandError(f"{path} has several columns called {twice[0]!r}; rename all but one")
    if not len(table):
        raise SummandError(f"{path} has no rows")
    return table


def _text(path: Path) -> str:
    """What a text file says, in UTF-8, UTF-16 with its mark, or Latin-1."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if b"\0" in content[:4096]:
        raise SummandError(f"{path} could not be read as a table: it holds null bytes, so it is no text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _csv(text: str, separator: str | None) -> pd.DataFrame:
    first = next((line for line in text.splitlines() if line.strip()), "")
    if separator is None:
        try:
            separator = csv.Sniffer().sniff(first, delimiters=_SEPARATORS).delimiter
        except csv.Error:
            separator = ","  # a single column
        if separator not in first:
            separator = ","
    return pd.read_csv(io.StringIO(text), sep=separator, skipinitialspace=True)


def image_column(table: pd.DataFrame, path: Path, column: str | None = None) -> str:
    """The column that holds the images. column: the one that was asked for; None takes the first of `COLUMNS`.

    Raises `SummandError` with the columns that there are.
    """
    if column is not None:
        if column not in table.columns:
            near = nearest(column, map(str, table.columns))
            raise SummandError(f"{path} has no column {column!r}{near}; it has {listed(map(str, table.columns))}")
        return column
    named = {str(name).lower(): str(name) for name in reversed(table.columns)}
    found = next((named[name] for name in COLUMNS if name in named), None)
    if found is None:
        raise SummandError(
            f"{path} needs a column called 'path' (or {', '.join(COLUMNS[1:])}); it has "
            f"{listed(map(str, table.columns))}. Name it: {path}#COLUMN"
        )
    return found


def check_filled(table: pd.DataFrame, path: Path, columns: Sequence[str]) -> None:
    """Raises `SummandError` that names the lines without a value in one of these columns."""
    what, first = ("row", 1) if path.suffix.lower() == ".parquet" else ("line", 2)
    for column in columns:
        empty = table[column].isna() | (table[column].astype(str).str.strip() == "")
        if empty.any():
            rows = listed([str(i + first) for i in np.flatnonzero(empty)], most=5)
            raise SummandError(f"{path}: no value in column {column!r} of {what} {rows}; fill it in or drop the {what}")


def in_split(table: pd.DataFrame, path: Path, split: str, required: bool = True) -> np.ndarray:
    """Which rows are of a split; numbers may stand for train, val, test. Raises `SummandError` where required and none
    is."""
    held = table["split"].map(lambda value: SPLITS.get(str(value), value))
    found = (held == SPLITS.get(split, split)).to_numpy()
    if required and not found.any():
        raise SummandError(
            f"{path} has no rows of split {split!r} (there are {listed(map(str, table['split'].unique()))})"
        )
    return found


def encoded(value: Any) -> bytes | None:
    """The bytes of a picture that stands in a table itself, alone or as Hugging Face writes it; None of a path."""
    if isinstance(value, dict):
        value = value.get("bytes")
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else None


def path_in(value: Any) -> str | None:
    """The path in a cell."""
    if isinstance(value, dict):
        value = value.get("path")
    return value.strip() if isinstance(value, str) and value.strip() else None
