"""Where a survey's tables and data sets stand: in memory, or in a folder; what is asked of them is the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import xarray as xr

from ..atomic import replacing
from ..errors import SummandError, first_line
from . import shards, store
from .checksums import FILE as CHECKSUMS
from .checksums import Checksums
from .manifest import FILE

IMAGES, LABELS, EMBEDDINGS, KEPT = "images", "labels", "images", "kept"
TERMS, MEANS, DIRECTIONS, SKIPPED = "terms", "means", "directions", "skipped"
_LISTS = ("texts", "weights", "explained", "words", "poles", "properties")


@runtime_checkable
class Shelf(Protocol):
    """path: the folder, or None. Data sets are xarray's, tables are pandas'; each has a name."""

    path: Path | None

    @property
    def label(self) -> str: ...

    def has(self, name: str, table: bool = False) -> bool: ...

    def dataset(self, name: str) -> xr.Dataset: ...

    def table(self, name: str) -> pd.DataFrame: ...

    def put(self, name: str, data: xr.Dataset) -> None: ...

    def put_table(self, name: str, table: pd.DataFrame) -> None: ...

    def put_blocks(self, name: str, blocks: Iterator[xr.Dataset]) -> None:
        """A data set in parts, one behind the other along `image`."""
        ...

    def put_table_blocks(self, name: str, blocks: Iterator[pd.DataFrame]) -> None: ...


class InMemory:
    path: Path | None = None
    label = "this survey"

    def __init__(self) -> None:
        self._data: dict[str, xr.Dataset] = {}
        self._tables: dict[str, pd.DataFrame] = {}

    def has(self, name: str, table: bool = False) -> bool:
        return name in (self._tables if table else self._data)

    def dataset(self, name: str) -> xr.Dataset:
        return self._data[name]

    def table(self, name: str) -> pd.DataFrame:
        return self._tables[name].copy()

    def put(self, name: str, data: xr.Dataset) -> None:
        self._data[name] = data

    def put_table(self, name: str, table: pd.DataFrame) -> None:
        self._tables[name] = table.copy()

    def put_blocks(self, name: str, blocks: Iterator[xr.Dataset]) -> None:
        self._data[name] = xr.concat(list(blocks), "image")

    def put_table_blocks(self, name: str, blocks: Iterator[pd.DataFrame]) -> None:
        self._tables[name] = pd.concat(list(blocks))


class Folder:
    """Data sets in zarr, tables in parquet (labels in csv as well, with lists as JSON). sound: files of it that were
    compared with their checksums already."""

    def __init__(self, path: Path, sound: Iterable[str] = ()) -> None:
        self.path: Path | None = path
        self._path = path
        self._sums = Checksums(path)
        self._sound = set(sound)

    def _check(self, name: str) -> None:
        """Raise `SummandError` where a file is not what was written; looked at once."""
        if name not in self._sound:
            self._sums.check(name, f"the command that made {self._path} makes this part of it again")
            self._sound.add(name)

    @property
    def label(self) -> str:
        return str(self._path)

    def has(self, name: str, table: bool = False) -> bool:
        return (self._path / f"{name}.{'parquet' if table else 'zarr'}").exists()

    def dataset(self, name: str) -> xr.Dataset:
        self._check(f"{name}.zarr")
        return store.read(self._path / f"{name}.zarr")

    def table(self, name: str) -> pd.DataFrame:
        path = self._path / f"{name}.parquet"
        self._check(path.name)
        try:
            return pd.read_parquet(path)
        except FileNotFoundError:
            raise SummandError(f"{path} is missing from its run folder; make the run again") from None
        except Exception as error:  # pandas and pyarrow raise whatever their parsers do
            raise SummandError(f"{path} is broken: {first_line(error)}") from error

    def put(self, name: str, data: xr.Dataset) -> None:
        store.write(data, self._path / f"{name}.zarr")
        self._sums.note([f"{name}.zarr"])

    def put_blocks(self, name: str, blocks: Iterator[xr.Dataset]) -> None:
        store.write_blocks(blocks, self._path / f"{name}.zarr")
        self._sums.note([f"{name}.zarr"])

    def put_table_blocks(self, name: str, blocks: Iterator[pd.DataFrame]) -> None:
        store.write_tables(blocks, self._path / f"{name}.parquet")
        self._sums.note([f"{name}.parquet"])

    def put_table(self, name: str, table: pd.DataFrame) -> None:
        with replacing(self._path / f"{name}.parquet") as temporary:
            table.to_parquet(temporary)
        if name == LABELS:
            flat = table.copy()
            for column in _LISTS:
                if column in flat:
                    flat[column] = [None if value is None else json.dumps(_plain(value)) for value in flat[column]]
            with replacing(self._path / f"{name}.csv") as temporary:
                flat.to_csv(temporary, index=False)
        self._sums.note([f"{name}.parquet", *([f"{name}.csv"] if name == LABELS else [])])


def _plain(value: Any) -> Any:
    """Lists for the arrays that parquet gives for lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, np.ndarray)) else value


_MORE = (f"{TERMS}.zarr", f"{MEANS}.zarr", f"{DIRECTIONS}.zarr", "checkpoint")


def forget(out: Path) -> None:
    """Remove what a survey wrote into a folder, and nothing else."""
    for name in (FILE, CHECKSUMS, f"{IMAGES}.parquet", f"{SKIPPED}.parquet", f"{LABELS}.parquet", f"{LABELS}.csv"):
        (out / name).unlink(missing_ok=True)
    for path in (f"{EMBEDDINGS}.zarr", f"{KEPT}.zarr", "heads.zarr", "pairs.zarr", *_MORE, shards.FOLDER):
        shutil.rmtree(out / path, ignore_errors=True)
    for path in (*out.glob("neurons.*.zarr"), *out.glob(f"{KEPT}.*.zarr")):
        shutil.rmtree(path, ignore_errors=True)
