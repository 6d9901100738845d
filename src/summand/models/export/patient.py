"""A file for a writer that may not be stopped half-way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class Patient(io.RawIOBase):
    """Hands what is written on to a file, and keeps the first error in the place of raising it: torch ends the process
    where a write fails."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        if self.error is None:
            try:
                self._file.write(content)
            except OSError as error:
                self.error = error
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence) if self.error is None else offset


@contextmanager
def patient(path: Path) -> Iterator[Patient]:
    """A file to write to, whose error is raised when the block ends."""
    with open(path, "wb") as file:
        made = Patient(file)
        yield made
        if made.error is not None:
            raise made.error
