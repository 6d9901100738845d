"""Images that stand inside of something else: a zip, webdataset's tars, a parquet file, another machine's folder."""

from __future__ import annotations

import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..errors import SummandError, first_line
from .listing import MOST_BYTES, Listing, nothing_in
from .naming import printable
from .pictures import read_image

Opener = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Local:
    """Opens a file of this machine."""

    path: Path

    def __call__(self) -> BinaryIO:
        return open(self.path, "rb")


@dataclass(frozen=True)
class Remote:
    """Opens a file of any file system that fsspec knows, by its address."""

    url: str

    def __call__(self) -> BinaryIO:
        import fsspec

        files, path = fsspec.core.url_to_fs(self.url)
        return files.open(path, "rb")


class StoredImages:
    """Images by number out of a place that gives the bytes of each. read(i): the bytes of image i, an `OSError` where
    it cannot."""

    def __init__(self, label: str, names: Sequence[str], read: Callable[[int], bytes], count: int | None) -> None:
        kept = list(range(len(names)))
        if count is not None and count < len(names):
            kept = np.linspace(0, len(names) - 1, count).round().astype(int).tolist()
        self.label, self._names, self._read = label, [printable(names[i]) for i in kept], read
        self._kept = kept

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return self._names[index]

    def image(self, index: int) -> Image.Image:
        return read_image(io.BytesIO(self._read(self._kept[index])))

    def attributes(self) -> None:
        return None


@dataclass
class _PerThread:
    """Something opened once by every thread and process that asks, since a file has one place to read at."""

    make: Callable[[], Any]
    own: threading.local = field(default_factory=threading.local)

    def __call__(self) -> Any:
        if not hasattr(self.own, "it"):
            self.own.it = self.make()
        return self.own.it

    def __getstate__(self) -> dict[str, Any]:
        return {"make": self.make}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.make, self.own = state["make"], threading.local()


@dataclass
class _FromZip:
    names: list[str]
    opened: _PerThread

    def __call__(self, index: int) -> bytes:
        try:
            return self.opened().read(self.names[index])
        except Exception as error:  # of zlib, bz2 and lzma, and of zipfile itself
            raise OSError(f"cannot be unpacked: {first_line(error)}") from error


@dataclass(frozen=True)
class _OpenZip:
    opener: Opener

    def __call__(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.opener())


def zip_images(opener: Opener, label: str, count: int | None = None) -> StoredImages:
    """The pictures in a zip, by their names in it. Nothing is unpacked to the disk."""
    listing = Listing(label)
    try:
        with zipfile.ZipFile(opener()) as archive:
            infos = [
                info
                for info in archive.infolist()
                if not info.filename.endswith("/") and listing.takes(info.filename, info.file_size)
            ]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise SummandError(f"{label} cannot be read as a zip: {first_line(error)}") from error
    names = sorted(info.filename for info in infos)
    listing.say()
    if not names:
        raise nothing_in(label)
    return StoredImages(label, names, _FromZip(names, _PerThread(_OpenZip(opener))), count)


@dataclass
class _FromTars:
    places: list[tuple[int, int, int]]  # which tar, where in it, how many bytes
    opened: list[_PerThread]

    def __call__(self, index: int) -> bytes:
        tar, start, size = self.places[index]
        file = self.opened[tar]()
        file.seek(start)
        content = file.read(size)
        if len(content) < size:
            raise OSError("the tar breaks off in the middle of it")
        return content


def tar_images(openers: Sequence[tuple[str, Opener]], label: str, count: int | None = None) -> StoredImages:
    """The pictures in tars such as webdataset's, by TAR/NAME. They are read where they stand: a compressed tar, in
    which nothing can be found by its place, is refused."""
    names, places, listing = [], [], Listing(label)
    for number, (name, opener) in enumerate(openers):
        try:
            with opener() as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.isreg() and listing.takes(member.name, member.size):
                        names.append(f"{name}/{member.name}")
                        places.append((number, member.offset_data, member.size))
        except (OSError, tarfile.TarError, ValueError, EOFError) as error:
            remedy = "; unpack it with gunzip first" if name.endswith(("gz", "bz2", "xz", "zst")) else ""
            raise SummandError(f"{name} cannot be read as a tar: {first_line(error)}{remedy}") from error
    listing.say()
    if not names:
        raise nothing_in(label)
    return StoredImages(label, names, _FromTars(places, [_PerThread(opener) for _, opener in openers]), count)


def expanded(pattern: str) -> list[str]:
    """Names with ranges and lists in braces written out.

    >>> expanded("a-{008..010}.tar"), expanded("{x,y}.tar")
    (['a-008.tar', 'a-009.tar', 'a-010.tar'], ['x.tar', 'y.tar'])
    """
    found = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    if found[1] is not None:
        first, last = int(found[1]), int(found[2])
        if last - first > 1_000_000:
            raise SummandError(f"{pattern} stands for {last - first + 1:,} files; give a narrower range")
        inside = [str(number).zfill(len(found[1])) for number in range(first, last + 1)]
    else:
        inside = found[3].split(",")
    return [whole for part in inside for whole in expanded(pattern[: found.start()] + part + pattern[found.end() :])]


@dataclass(frozen=True)
class FromCells:
    """The bytes in a column."""

    cells: Sequence[bytes | None]

    def __call__(self, index: int) -> bytes:
        content = self.cells[index]
        if content is None:
            raise OSError("this row holds no picture")
        return content


@dataclass(frozen=True)
class FromFiles:
    """The bytes behind addresses."""

    openers: Sequence[Opener]

    def __call__(self, index: int) -> bytes:
        with self.openers[index]() as file:
            return file.read(MOST_BYTES + 1)
