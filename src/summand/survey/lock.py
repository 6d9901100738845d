"""One process at a time in a survey's folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import SummandError

FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder is ours until the block ends, or the process does, however it ends: the lock is the operating
    system's. Raises `SummandError` that says who has it."""
    path = folder / FILE
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise SummandError(
            f"another process works in {folder}{_who(path)}; wait for it, or give another folder with --out"
        ) from None
    try:
        with suppress(OSError):  # the name is a courtesy
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()


def _who(path: Path) -> str:
    try:
        said = path.read_text(encoding="utf-8")[:100].strip()
    except (OSError, ValueError):
        return ""
    return f" ({said})" if said else ""
