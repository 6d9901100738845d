"""Which files in a folder, an archive or a bucket are pictures that can be read; the others are left out, and said."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path, PurePath

from ..errors import SummandError, listed
from .naming import hidden, printable

EXTENSIONS = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
_UNREAD = frozenset(
    {".heic", ".heif", ".svg", ".svgz", ".jxl", ".psd", ".eps", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf"}
)
"""Pictures to whoever put them there, but not to Pillow."""
MOST_BYTES = 1 << 30
"""No single stored picture is larger; what claims to be is refused before it is unpacked."""


class Listing:
    """Takes names one by one, and knows in the end what was left out. label: of the place, for what is said."""

    def __init__(self, label: str) -> None:
        self.label, self._hidden, self._large, self._unread = label, 0, 0, Counter[str]()
        self._closed: list[str] = []

    def takes(self, name: str | PurePath, size: int = 0) -> bool:
        """Whether a file is a picture to be read. name: relative to the place, on whose own name nothing depends. size:
        in bytes, where it is to be unpacked."""
        path = PurePath(name)
        ending = path.suffix.lower()
        if ending not in EXTENSIONS and ending not in _UNREAD:
            return False
        if any(hidden(part) for part in path.parts):
            self._hidden += ending in EXTENSIONS
            return False
        if ending in _UNREAD:
            self._unread[ending] += 1
        elif size > MOST_BYTES:
            self._large += 1
            return False
        return ending in EXTENSIONS

    def unread(self, error: OSError) -> None:
        """A folder inside cannot be listed."""
        self._closed.append(f"{printable(error.filename)}: {error.strerror}")

    def say(self) -> None:
        """What was left out, on stderr."""
        if self._closed:
            self._line(f"left out, since these folders cannot be read: {listed(self._closed, most=5)}")
        if self._hidden:
            self._line(f"{self._hidden:,} pictures in hidden folders are left out")
        if self._large:
            self._line(f"left out, since they are larger than {MOST_BYTES >> 30} GiB: {_many(self._large, 'picture')}")
        if self._unread:
            kinds = ", ".join(f"{count:,} {ending}" for ending, count in self._unread.most_common())
            self._line(f"left out, since Pillow does not read them: {kinds}; save them as .jpg or .png")

    def _line(self, what: str) -> None:
        print(f"{printable(self.label)}: {what}", file=sys.stderr, flush=True)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def pictures_in(folder: Path, label: str) -> list[Path]:
    """The pictures in a folder and in its folders, sorted. Links to folders are not followed: they may lead round in a
    circle. Raises `SummandError` where there are none."""
    try:
        list(os.scandir(folder))
    except OSError as error:
        raise SummandError(f"the folder {folder} cannot be read: {error.strerror}") from error
    listing, found = Listing(label), []
    for place, _, names in os.walk(folder, onerror=listing.unread):
        inside = Path(place)
        found += [inside / name for name in names if listing.takes(inside.relative_to(folder) / name)]
    listing.say()
    if not found:
        raise nothing_in(label, " in it and its folders")
    return sorted(found)


def nothing_in(label: str, where: str = "") -> SummandError:
    return SummandError(f"no images in {label} (looked for {', '.join(sorted(EXTENSIONS))}{where})")
