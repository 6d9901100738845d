"""SHA-256 of what is on the disk: a bit that flips after a file was written is found, and the file named."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..atomic import replacing
from ..errors import SummandError

FILE = "checksums.json"
_DIGEST = "sha256"


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """JSON that holds the SHA-256 of its own content."""
    with replacing(path) as temporary:
        sealed = {**content, _DIGEST: _digest_of(content)}
        temporary.write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")


def read_sealed(path: Path, required: Callable[[dict[str, Any]], bool] = lambda found: True) -> dict[str, Any]:
    """What `write_sealed` was given. required: whether what was found must have a seal.

    Raises `SummandError` for what is no JSON object or was changed since, `FileNotFoundError` where there is none, and
    `PermissionError` where it may not be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise SummandError(f"{path} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise SummandError(f"{path} holds a {type(found).__name__}, not a JSON object")
    seal = found.pop(_DIGEST, None)
    if (seal is not None or required(found)) and seal != _digest_of(found):
        raise SummandError(f"{path} was changed or damaged after it was written: its checksum is another")
    return found


def digests(path: Path) -> dict[str, str]:
    """The SHA-256 of a file, or of every file in a folder, by its path relative to `path` ("" of a file)."""
    if path.is_file():
        return {"": _digest(path)}
    files = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return {file.relative_to(path).as_posix(): _digest(file) for file in files}


def damaged(path: Path, known: Mapping[str, str]) -> list[Path]:
    """Which files of `digests` are missing, or are no longer what they were."""
    return [path / name for name, digest in known.items() if not _is(path / name, digest)]


def check(path: Path, known: Mapping[str, str], remedy: str) -> None:
    """Raise `SummandError` that names the first damaged file."""
    for file in damaged(path, known):
        what = "was changed or damaged after it was written: its checksum is another" if file.exists() else "is missing"
        raise SummandError(f"{file} {what}; {remedy}")


class Checksums:
    """The digests of what stands in a folder, entry by entry (a file or a folder in it), in its `checksums.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        return (self.folder / FILE).is_file()

    def entries(self) -> dict[str, dict[str, str]]:
        """Entry → `digests`. Raises `SummandError` for a file that cannot be trusted."""
        try:
            found = read_sealed(self.folder / FILE)
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise SummandError(f"no permission to read {self.folder / FILE}") from error
        except SummandError as error:
            raise SummandError(
                f"{error}, so nothing here can be checked; remove it to trust the survey as it is, or make it again "
                f"with --restart"
            ) from None
        if not all(isinstance(value, dict) for value in found.values()):
            raise SummandError(f"{self.folder / FILE} does not hold checksums")
        return found

    def note(self, names: Iterable[str]) -> None:
        """Take the digests of these entries as they are now; of one that is gone, none."""
        known = self.entries()
        for name in names:
            known.pop(name, None)
            if (self.folder / name).exists():
                known[name] = digests(self.folder / name)
        write_sealed(self.folder / FILE, known)

    def check(self, name: str, remedy: str) -> None:
        """Raise `SummandError` where an entry is not what was noted. One that was never noted passes."""
        check(self.folder / name, self.entries().get(name, {}), remedy)

    def damaged(self) -> dict[str, list[Path]]:
        """Entry → its damaged files, of all entries that have some."""
        found = {name: damaged(self.folder / name, known) for name, known in self.entries().items()}
        return {name: files for name, files in found.items() if files}


def _is(file: Path, digest: str) -> bool:
    try:
        return file.is_file() and _digest(file) == digest
    except OSError:
        return False


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
