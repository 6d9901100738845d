"""Text embeddings kept: in memory for one state of a model, and on disk in one SQLite file for each key."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import SummandWarning

_KEEP = 32  # files
_AT_ONCE = 500  # values that one question may name in every build of SQLite
_WAIT = 10.0  # seconds for other processes
_BROKEN = frozenset((sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT))

Row = Float[np.ndarray, " embed"]


def cache_folder() -> Path:
    """SUMMAND_CACHE, else `summand` in the platform's cache folder."""
    if chosen := os.environ.get("SUMMAND_CACHE"):
        return Path(chosen).expanduser()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "summand"
    return Path.home() / ".cache" / "summand"


class Memory:
    """Embeddings by text, each with the digest of the tokens that it was read by, up to so many bytes; those that were
    asked for longest ago go first. Threads may share it."""

    def __init__(self, most: int = 2**27) -> None:
        self._rows: dict[str, tuple[bytes, Row]] = {}
        self._lock = threading.Lock()
        self._most, self._held = most, 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, texts: Sequence[str]) -> dict[str, tuple[bytes, Row]]:
        """Those of the texts that are kept."""
        with self._lock:
            found = {text: kept for text in texts if (kept := self._rows.pop(text, None)) is not None}
            self._rows.update(found)  # to the end: asked for last
            return found

    def put(self, rows: Mapping[str, tuple[bytes, Row]]) -> None:
        with self._lock:
            for text, kept in rows.items():
                self._drop(text)
                self._held += kept[1].nbytes
                self._rows[text] = kept
            while self._held > self._most and self._rows:
                self._drop(next(iter(self._rows)))

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()
            self._held = 0

    def _drop(self, text: str) -> None:
        if (kept := self._rows.pop(text, None)) is not None:
            self._held -= kept[1].nbytes


class TextStore:
    """Embeddings on disk, by the digest of the tokens that a text was read by. New ones are added, none is rewritten;
    processes may share a file. A damaged file is dropped, and where the folder cannot be used there is no store.

    name: the model's. key: its `fingerprint`.
    """

    def __init__(self, name: str, key: str, folder: Path | None = None) -> None:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "model"
        self.path = (folder or cache_folder()) / "texts" / f"{slug}-{key[:24]}.sqlite"

    def read(self, digests: Sequence[bytes]) -> dict[bytes, Row]:
        """Those of the digests that are kept, with their embeddings."""
        found: dict[bytes, Row] = {}
        try:
            if not self.path.is_file() or not self.path.stat().st_size:  # a full disk leaves a file that holds nothing
                return found
            with self._opened() as file:
                for start in range(0, len(digests), _AT_ONCE):
                    some = list(digests[start : start + _AT_ONCE])
                    marks = ",".join("?" * len(some))
                    asked = f"SELECT tokens, kind, row FROM embeddings WHERE tokens IN ({marks})"  # noqa: S608 (of ?)
                    for digest, kind, row in file.execute(asked, some):
                        found[bytes(digest)] = np.frombuffer(row, dtype=np.dtype(kind))
            _check(found)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._failed(error, "read")
            return {}
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return found

    def add(self, rows: Mapping[bytes, Row]) -> None:
        """Keep these as well."""
        new = [
            (digest, row.dtype.str, np.ascontiguousarray(row).tobytes())
            for digest, row in rows.items()
            if np.isfinite(row).all()
        ]
        if not new:
            return
        try:
            fresh = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as file:
                file.execute("CREATE TABLE IF NOT EXISTS embeddings (tokens BLOB PRIMARY KEY, kind TEXT, row BLOB)")
                file.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", new)
            if fresh:
                self._forget_the_oldest()
        except (sqlite3.Error, OSError) as error:
            self._failed(error, "written")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """One transaction, undone where it fails."""
        file = sqlite3.connect(self.path, timeout=_WAIT)
        try:
            with file:
                yield file
        finally:
            file.close()

    def _failed(self, error: Exception, what: str) -> None:
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, (ValueError, TypeError)) or (code is not None and code & 0xFF in _BROKEN):
            warnings.warn(
                f"the text cache {self.path} is damaged ({error}); it is dropped", SummandWarning, stacklevel=3
            )
            _drop(self.path)
        else:
            warnings.warn(
                f"the text cache {self.path} cannot be {what} ({error}); these texts are encoded again the next time",
                SummandWarning,
                stacklevel=3,
            )

    def _forget_the_oldest(self) -> None:
        """A model that is being fine-tuned leaves a file for every state of its weights."""
        kinds = (".sqlite", ".npz")  # the latter of earlier versions
        files = [path for path in self.path.parent.iterdir() if path.suffix in kinds]
        for path in sorted(files, key=_age)[:-_KEEP]:
            _drop(path)


def _check(rows: Mapping[bytes, np.ndarray]) -> None:
    if len({row.shape for row in rows.values()}) > 1:
        raise ValueError("its embeddings are not of one size")
    if not all(np.isfinite(row).all() for row in rows.values()):
        raise ValueError("it holds NaN or infinite numbers")


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has dropped it
        return 0.0


def _drop(path: Path) -> None:
    """With its journal, which would be played back into the next file of this name."""
    for part in (path, path.with_name(f"{path.name}-journal")):
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
