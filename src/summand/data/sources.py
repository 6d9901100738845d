"""Where images come from: a folder, a csv or parquet table of paths, or a scheme such as the rendered scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import SummandError, listed
from .pictures import as_rgb as as_rgb
from .pictures import read_image
from .schemes import scheme_of

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
SPLITS = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    name: str
    reason: str


@runtime_checkable
class ImageSource(Protocol):
    """Images by index. `name(i)` says what image i is called; `image(i)` may raise `OSError` for a broken file."""

    label: str

    def __len__(self) -> int: ...

    def name(self, index: int) -> str: ...

    def image(self, index: int) -> Image.Image: ...

    def attributes(self) -> pd.DataFrame | None:
        """A table of known truth about the images, one row each, or None."""
        ...


@runtime_checkable
class Drawn(ImageSource, Protocol):
    """Images that are made when they are asked for, many at a time, uint8 [image, height, width, 3]."""

    def pick(self, indices: np.ndarray) -> np.ndarray: ...


def open_source(source: str, count: int | None = None, split: str | None = None) -> ImageSource:
    """An image source from its one-string form.

    source: a folder (searched recursively), a `.csv`/`.parquet` file with a column `path`, or
    `scenes[:key=value,…]`. count: use at most this many images (evenly spread over a folder's files). split: of
    a table that has a column `split`, only these rows (train, val, test or any other value).

    Raises `SummandError` when there is nothing to read.
    """
    if count is not None and count < 1:
        raise SummandError(f"--count must be at least 1, got {count}")
    scheme = scheme_of(source)
    if scheme is not None:
        return scheme.images(source, count)
    for scheme in ("hf:", "wds:"):
        if source.startswith(scheme):
            raise SummandError(
                f"image source {source!r}: {scheme} is not supported yet; give a folder, a table or scenes"
            )
    path = Path(source).expanduser()
    if path.suffix.lower() in (".csv", ".parquet") and path.is_file():
        return FileImages(_paths_of_table(path, split), str(source), path.parent, count)
    if not path.exists():
        raise SummandError(f"no image source {source!r}: expected a folder, a .csv or .parquet of paths, or scenes[:…]")
    if not path.is_dir():
        raise SummandError(
            f"{source} is a file; expected a folder of images, a .csv or .parquet of paths, or scenes[:…]"
        )
    try:
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS and file.is_file())
    except PermissionError as error:
        raise SummandError(f"the folder {source} cannot be read: {error.strerror}") from error
    if not files:
        raise SummandError(f"no images in {source} (looked for {', '.join(sorted(EXTENSIONS))} in it and its folders)")
    return FileImages(files, str(source), path, count)


def _paths_of_table(path: Path, split: str | None) -> list[Path]:
    table = read_table(path)
    if "path" not in table.columns:
        raise SummandError(f"{path} needs a column called 'path'; it has {', '.join(map(str, table.columns))}")
    check_filled(table, path, ["path"])
    if split is not None and "split" in table:
        table = table[in_split(table, path, split)]
    return [path.parent / str(entry) for entry in table["path"]]


def read_table(path: Path) -> pd.DataFrame:
    """A csv or parquet file. Raises `SummandError` for one that cannot be read or has no rows."""
    try:
        table = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path)
    except Exception as error:
        raise SummandError(f"{path} could not be read as a table: {error}") from error
    if not len(table):
        raise SummandError(f"{path} has no rows")
    return table


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


class FileImages:
    """Image files; greyscale, palette, alpha and EXIF rotation are handled as a viewer would show them.

    root: what names are relative to. Both are kept absolute, so that the same images have the same names, and are
    found, from whatever folder the source was given.
    """

    def __init__(self, files: list[Path], label: str, root: Path, count: int | None) -> None:
        if count is not None and count < len(files):
            files = [files[i] for i in np.linspace(0, len(files) - 1, count).round().astype(int)]
        self.files, self.label, self.root = [file.absolute() for file in files], label, root.absolute()

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        file = self.files[index]
        return str(file.relative_to(self.root)) if file.is_relative_to(self.root) else str(file)

    def image(self, index: int) -> Image.Image:
        return read_image(self.files[index])

    def attributes(self) -> None:
        return None


@dataclass(frozen=True)
class Batch:
    """Indices into the source and their images, in order; unreadable ones are left out."""

    indices: list[int]
    images: list[Image.Image] | np.ndarray | Any


def batches(source: ImageSource, size: int, skipped: list[Skipped]) -> Iterator[Batch]:
    """The whole source in batches. A file that cannot be read is added to `skipped` and costs nothing else."""
    for start in range(0, len(source), size):
        batch = read_batch(source, range(start, min(start + size, len(source))), skipped)
        if batch.indices:
            yield batch


def read_batch(source: ImageSource, indices: Sequence[int], skipped: list[Skipped]) -> Batch:
    """These images of a source; those that cannot be read are left out and added to `skipped`."""
    if isinstance(source, Drawn):
        return Batch(list(indices), source.pick(np.asarray(indices, dtype=np.int64)))
    whole = getattr(source, "batch", None)  # images in memory may be one tensor already
    if whole is not None and len(indices) and (found := whole(indices)) is not None:
        return Batch(list(indices), found)
    read, images = [], []
    for index in indices:
        try:
            images.append(source.image(index))
            read.append(index)
        except OSError as error:
            skipped.append(Skipped(source.name(index), str(error) or type(error).__name__))
    return Batch(read, images)


class Some:
    """Some images of a source. kept: their numbers there."""

    def __init__(self, source: ImageSource, kept: np.ndarray) -> None:
        self._source, self._kept, self.label = source, kept, source.label

    def __len__(self) -> int:
        return len(self._kept)

    def name(self, index: int) -> str:
        return self._source.name(int(self._kept[index]))

    def image(self, index: int) -> Image.Image:
        return self._source.image(int(self._kept[index]))

    @property
    def content(self) -> str:
        """What tells the source's images apart, where names do not."""
        return getattr(self._source, "content", "")

    def attributes(self) -> pd.DataFrame | None:
        found = self._source.attributes()
        return None if found is None else found.iloc[self._kept]
