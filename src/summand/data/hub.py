"""Images that are not on this machine, or of a library of data sets: fsspec's addresses, Hugging Face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..border import foreign
from ..errors import SummandError, first_line, listed
from .listing import Listing, nothing_in
from .pictures import check_file
from .stored import FromFiles, Remote, StoredImages, tar_images, zip_images
from .tables import encoded


def remote_images(url: str, count: int | None = None) -> StoredImages:
    """A folder, a zip or a tar behind an address of fsspec (`s3://`, `gs://`, `https://`, `memory://`)."""
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise SummandError(f"{url} cannot be read: {first_line(error)}") from error
    except ValueError as error:
        raise SummandError(f"{url} is no address that fsspec knows: {first_line(error)}") from error
    ending = PurePosixPath(root).suffix.lower()
    if ending == ".zip":
        return zip_images(Remote(url), url, count)
    if ending == ".tar":
        return tar_images([(PurePosixPath(root).name, Remote(url))], url, count)
    try:
        found = sorted(files.find(root))
    except (OSError, ValueError) as error:
        raise SummandError(f"{url} cannot be listed: {first_line(error)}") from error
    listing = Listing(url)
    inside = [name for name in found if listing.takes(name[len(root) :].lstrip("/") or name)]
    listing.say()
    if not inside:
        raise nothing_in(url)
    names = [name[len(root) :].lstrip("/") or name for name in inside]
    return StoredImages(url, names, FromFiles([Remote(files.unstrip_protocol(name)) for name in inside]), count)


def content_of(value: Any) -> bytes:
    """The bytes of a picture as `datasets` hands it over undecoded. Raises `OSError` where there are none."""
    content = encoded(value)
    if content is not None:
        return content
    path = value.get("path") if isinstance(value, dict) else None
    if not path:
        raise OSError("this row holds no picture")
    check_file(Path(path))
    return Path(path).read_bytes()


@dataclass
class _FromDataset:
    rows: Any

    def __call__(self, index: int) -> bytes:
        return content_of(self.rows[index])


def hub_images(name: str, label: str, count: int | None = None) -> StoredImages:
    """A data set of Hugging Face, by its name on the hub (`NAME@split`) or by a folder that `save_to_disk` wrote; of
    these the first column that holds images."""
    try:
        import datasets
    except ImportError:
        raise SummandError(f"{label} needs the package datasets: pip install 'summand-clip[data]'") from None
    name, _, split = name.partition("@")
    if not name:
        raise SummandError(f"{label} names no data set; say hf:NAME, or hf:NAME@SPLIT")
    try:
        made = datasets.load_from_disk(name) if is_saved(name) else datasets.load_dataset(name, split=split or None)
        found = foreign(made)
    except Exception as error:  # its readers raise whatever their formats do
        raise SummandError(f"{label} cannot be loaded: {first_line(error)}") from error
    if isinstance(found, dict):
        if split and split not in found:
            raise SummandError(f"{label} has no split {split!r}; it has {listed(map(str, found))}")
        if not split and len(found) > 1:
            first = next(iter(found))
            raise SummandError(f"{label} has the splits {listed(map(str, found))}; choose one with {label}@{first}")
        found = found[split] if split else next(iter(found.values()))
    column = image_column_of(found, datasets, label)
    plain = found.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return StoredImages(label, [f"row {i}" for i in range(len(plain))], _FromDataset(_Column(plain, column)), count)


def is_saved(folder: str | Path) -> bool:
    """Whether it is a folder that `save_to_disk` wrote; another one may hold the files of a data set."""
    try:
        return any((Path(folder) / name).is_file() for name in ("dataset_info.json", "dataset_dict.json"))
    except PermissionError:
        return False


def image_column_of(found: Any, datasets: Any, label: str) -> str:
    """The first column that holds images. Raises `SummandError` where none does."""
    features = found.features or {}
    column = next((key for key, kind in features.items() if isinstance(kind, datasets.Image)), None)
    if column is None:
        raise SummandError(f"{label} has no column of images; it has {listed(features)}")
    return str(column)


@dataclass
class _Column:
    """A column, row by row."""

    rows: Any
    name: str

    def __getitem__(self, index: int) -> Any:
        return self.rows[index][self.name]
