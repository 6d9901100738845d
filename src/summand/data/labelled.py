"""Images with a class, and where there is one, a group: folders of classes, tables, Waterbirds' metadata, scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SummandError, listed
from .schemes import scheme_of
from .sources import EXTENSIONS, FileImages, ImageSource
from .tables import check_filled, in_split, read_table

_PATHS = ("path", "img_filename", "filename", "file", "image")
_LABELS = ("label", "y", "class")
_GROUPS = ("group", "place", "attribute")


@dataclass(frozen=True)
class Labelled:
    """Images, the class of each, and the value of a second attribute (the place of a bird) where it is known.

    classes: names; labels: int [image] into them. values: names of the second attribute; groups: int [image] into
    them, or None. shares: [class, value], how often each pair is in the training data, or None. attribute and
    group_attribute: what the classes and the values are values of, where a world knows it.
    """

    source: ImageSource
    classes: tuple[str, ...]
    labels: np.ndarray
    values: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    shares: np.ndarray | None = None
    attribute: str | None = None
    group_attribute: str | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def frequencies(self) -> np.ndarray:
        """Share of each (class, value) among these images, [class, value]."""
        assert self.groups is not None
        table = np.zeros((len(self.classes), len(self.values)))
        np.add.at(table, (self.labels, self.groups), 1)
        return table / table.sum()


def open_labelled(
    data: str,
    classes: str | Sequence[str] | None = None,
    groups: str | None = None,
    *,
    values: Sequence[str] | None = None,
    label_column: str | None = None,
    split: str | None = None,
    usual_split: str = "test",
    count: int | None = None,
) -> Labelled:
    """Labelled images from a string.

    data: a folder with one sub-folder per class; a table, a zip, tars with a label column (`label`, `y` or
    `class`; Waterbirds' `metadata.csv` as it is); or `scenes[:…]`. classes: the names, in the order of the sorted
    folders or of the numbers in the table (by default the folders' or the table's own); for scenes the attribute that
    is the class. groups: a column of the table (by default `group`, `place` or `attribute`), a table for the images of
    a folder, or for scenes an attribute. split: train, val, test or any value of a column `split`; where there is such
    a column, `usual_split` is the default and `shares` come from the training rows.

    Raises `SummandError` for class names that do not fit the labels, missing values, and fewer images than classes.
    """
    scheme = scheme_of(data)
    if label_column is not None and (scheme or (Path(data).expanduser().is_dir() and groups is None)):
        what = data.partition(":")[0] if scheme else "a folder"
        raise SummandError(
            f"{data} is {what}, and label_column= is of a table; leave it out, or give a .csv or .parquet"
        )
    if scheme is not None:
        found = scheme.labelled(data, classes, groups, count)
    else:
        path = Path(data).expanduser()
        names = None if classes is None else [classes] if isinstance(classes, str) else list(classes)
        table_of_groups = Path(groups).expanduser() if groups and Path(groups).suffix in (".csv", ".parquet") else None
        if path.is_dir() and table_of_groups is None:
            if groups is not None:
                raise SummandError(
                    f"{data} is a folder; groups must be a .csv or .parquet with its files, got {groups!r}"
                )
            found = _folders(path, names, count)
        elif table_of_groups is not None and not path.is_dir() and path != table_of_groups:
            raise SummandError(
                f"{data} is no folder, and the table {groups} is for the images of one; give their folder, or leave "
                f"out the table and say which column of {data} holds the groups"
            )
        else:
            table = table_of_groups or path
            columns = (label_column, None if table_of_groups else groups)
            root = path if path.is_dir() else table.parent
            found = _table(table, root, names, columns, values, (split, usual_split), count)
    if len(found) < len(found.classes):
        raise SummandError(
            f"{data} has {len(found)} image(s) for {len(found.classes)} classes; give at least one image a class"
        )
    return found


def _folders(folder: Path, names: list[str] | None, count: int | None) -> Labelled:
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(folders) < 2:
        raise SummandError(
            f"{folder} has {len(folders)} sub-folder(s); expected one for each class, or give a .csv with columns "
            f"path and label"
        )
    if names is not None and len(names) != len(folders):
        raise SummandError(
            f"{len(names)} class names for the {len(folders)} folders of {folder} "
            f"({listed([f.name for f in folders])}); give one for each, in the order of the sorted folder names"
        )
    files, labels = [], []
    for label, entry in enumerate(folders):
        inside = sorted(file for file in entry.rglob("*") if file.suffix.lower() in EXTENSIONS and not file.is_dir())
        if not inside:
            raise SummandError(f"no images in {entry}; remove the folder or fill it")
        files += inside
        labels += [label] * len(inside)
    kept = spread(len(files), count)
    source = FileImages([files[i] for i in kept], str(folder), folder, None)
    own = [entry.name.replace("_", " ") for entry in folders]
    return Labelled(source, tuple(names or own), np.array(labels)[kept])


def _table(
    table: Path,
    root: Path,
    names: list[str] | None,
    columns: tuple[str | None, str | None],
    values: Sequence[str] | None,
    splits: tuple[str | None, str],
    count: int | None,
) -> Labelled:
    frame = _read(table)
    where = str(_column(frame, table, None, _PATHS, "paths"))
    label = str(_column(frame, table, columns[0], _LABELS, "labels"))
    group = _column(frame, table, columns[1], _GROUPS, "groups", required=columns[1] is not None)
    used = [where, label, *([group] if group else []), *(["split"] if "split" in frame else [])]
    check_filled(frame, table, used)
    classes, labels = codes_of(frame[label], names, f"{table}, column {label!r}", "classes")
    codes, kinds = None, ()
    if group is not None:
        known = None if values is None else list(values)
        kinds, codes = codes_of(frame[group], known, f"{table}, column {group!r}", "")
    shares = None
    split, usual_split = splits
    rows = np.arange(len(frame))
    if "split" in frame:
        training = in_split(frame, table, "train", required=False)
        if codes is not None and training.any():
            shares = Labelled(_NO_IMAGES, classes, labels[training], kinds, codes[training]).frequencies()
        rows = rows[in_split(frame, table, split or usual_split)]
    elif split is not None:
        raise SummandError(f"{table} has no column 'split', so there is no split {split!r} to choose")
    rows = rows[spread(len(rows), count)]
    paths = [root / str(entry) for entry in frame[where].iloc[rows]]
    source = FileImages(paths, str(table), root, None)
    return Labelled(source, classes, labels[rows], kinds, None if codes is None else codes[rows], shares)


def _read(table: Path) -> pd.DataFrame:
    if not table.is_file():
        raise SummandError(
            f"no labelled images at {table}: expected a folder with one sub-folder a class, a .csv or .parquet, "
            f"or scenes[:…]"
        )
    return read_table(table)


def _column(
    frame: pd.DataFrame, table: Path, asked: str | None, usual: tuple[str, ...], what: str, required: bool = True
) -> str | None:
    found = next((name for name in ([asked] if asked else usual) if name in frame.columns), None)
    if found is None and required:
        expected = repr(asked) if asked else " or ".join(map(repr, usual))
        raise SummandError(
            f"{table} needs a column {expected} for the {what}; it has {listed(map(str, frame.columns))}"
        )
    return found


def codes_of(column: Any, names: list[str] | None, where: str, option: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and codes of a column of numbers or words; given names must fit it."""
    if pd.api.types.is_numeric_dtype(column):
        codes = column.to_numpy()
        whole = np.clip(np.nan_to_num(codes), -1, np.iinfo(np.int32).max).astype(np.int64)
        if (whole != codes).any() or whole.min() < 0:
            raise SummandError(
                f"{where}: expected whole numbers from 0 on, or names; got {codes.min()} to {codes.max()}"
            )
        if names is None and option:
            raise SummandError(f"{where} holds numbers; say what they mean with {option}=NAME,NAME,… in their order")
        if names is not None and whole.max() >= len(names):
            raise SummandError(
                f"{where} goes up to {whole.max()}, but there are {len(names)} names ({listed(names)}); "
                f"give one for each number from 0 on"
            )
        return tuple(names or map(str, range(int(whole.max()) + 1))), whole
    words = column.astype(str)
    known = list(names or sorted(words.unique()))
    unknown = sorted(set(words) - set(known))
    if unknown:
        raise SummandError(
            f"{where} holds {listed(unknown, most=5)}, which is not among the names given ({listed(known)}); "
            f"make the two agree"
        )
    return tuple(known), words.map({name: code for code, name in enumerate(known)}).to_numpy(dtype=np.int64)


def spread(total: int, count: int | None) -> np.ndarray:
    if count is None or count >= total:
        return np.arange(total)
    return np.linspace(0, total - 1, count).round().astype(int)


_NO_IMAGES = FileImages([], "", Path(), None)
