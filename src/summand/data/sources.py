"""Where images come from: a folder, a table, an archive, a data set of a hub, or a scheme such as rendered scenes."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import SummandError
from .hub import hub_images, is_saved, remote_images
from .listing import EXTENSIONS as EXTENSIONS
from .listing import pictures_in
from .naming import printable
from .pictures import as_rgb as as_rgb
from .pictures import read_image
from .schemes import scheme_of
from .skips import Skipped as Skipped
from .skips import skip
from .stored import FromCells, Local, Remote, StoredImages, expanded, tar_images, zip_images
from .streamed import streamed_images
from .tables import TABLES, check_filled, encoded, image_column, in_split, path_in, read_table


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

    source: a folder (searched recursively; hidden folders, and what archivers leave behind, are left out), a table
    (`.csv`, `.tsv`, `.parquet`, `.jsonl`: of paths, or of pictures' bytes; `TABLE#COLUMN` names the column), a `.txt`
    with a path a line, a `.zip`, webdataset's tars (`a.tar`, `wds:data/{000..099}.tar`), a Hugging Face data set
    (`hf:NAME@split`, or a folder that `save_to_disk` wrote; `hf-stream:NAME@split` stores nothing), any of these but
    the last behind fsspec (`s3://…`), or `scenes[:key=value,…]`. count: use at most this many images, spread evenly.
    split: of a table that has a column `split`, only these rows (train, val, test or any other value).

    Raises `SummandError` when there is nothing to read.
    """
    if count is not None and count < 1:
        raise SummandError(f"--count must be at least 1, got {count}")
    scheme = scheme_of(source)
    if scheme is not None:
        return scheme.images(source, count)
    if source.startswith("hf:"):
        return hub_images(source[3:], source, count)
    if source.startswith("hf-stream:"):
        return streamed_images(source.removeprefix("hf-stream:"), source, count)
    if source.startswith("wds:"):
        return _tars(source[4:], source, count)
    if "://" in source:
        return remote_images(source, count)
    place, _, column = source.rpartition("#") if _names_column(source) else (source, "", "")
    path = Path(place).expanduser()
    ending = path.suffix.lower()
    if ending in TABLES and path.is_file():
        return _of_table(path, source, column or None, split, count)
    if ending == ".zip" and path.is_file():
        return zip_images(Local(path), source, count)
    if ".tar" in path.name.lower():
        return _tars(place, source, count)
    if not path.exists():
        raise SummandError(f"no image source {source!r}: expected {_KINDS}")
    if not path.is_dir():
        raise SummandError(f"{source} is a file; expected {_KINDS}")
    if is_saved(path):
        return hub_images(str(path), source, count)
    return FileImages(pictures_in(path, str(source)), str(source), path, count)


_KINDS = (
    "a folder, a table of paths (.csv, .tsv, .parquet, .jsonl, .txt), a .zip, .tar files, hf:NAME, an address such as "
    "s3://…, or scenes[:…]"
)


def _names_column(source: str) -> bool:
    place = source.rpartition("#")[0]
    return Path(place).suffix.lower() in TABLES and Path(place).expanduser().is_file()


def _tars(pattern: str, label: str, count: int | None) -> ImageSource:
    names = [name for one in expanded(pattern) for name in (sorted(glob.glob(one)) if _globs(one) else [one])]
    if "://" in pattern:
        return tar_images([(name, Remote(name)) for name in names], label, count)
    if not pattern:
        raise SummandError("wds: names no tars; say wds:data/{000..099}.tar")
    paths = [Path(name).expanduser() for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        where = missing[0] if missing else pattern
        raise SummandError(f"there is no tar {where}; expected tars, such as wds:data/{{000..099}}.tar")
    return tar_images([(path.name, Local(path)) for path in paths], label, count)


def _globs(name: str) -> bool:
    return "://" not in name and any(sign in name for sign in "*?[") and not Path(name).exists()


def _of_table(path: Path, label: str, column: str | None, split: str | None, count: int | None) -> ImageSource:
    table = read_table(path)
    name = image_column(table, path, column)
    if split is not None and "split" in table:
        table = table.loc[in_split(table, path, split)].reset_index(drop=True)
    values = table[name].tolist()
    cells = [encoded(value) for value in values]
    if any(cell is not None for cell in cells):
        known = [path_in(value) or f"row {number}" for number, value in enumerate(values)]
        return StoredImages(label, known, FromCells(cells), count)
    entries = [path_in(value) or "" for value in values]
    table[name] = entries
    check_filled(pd.DataFrame(table), path, [name])
    return FileImages([path.parent / entry for entry in entries], label, path.parent, count)


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
        return printable(file.relative_to(self.root) if file.is_relative_to(self.root) else file)

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
    if whole is not None and len(indices) and (found := whole(indices, skipped)) is not None:
        return Batch(*found)
    read, images = [], []
    for index in indices:
        try:
            images.append(source.image(index))
            read.append(index)
        except OSError as error:
            skip(skipped, source.name(index), error)
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
