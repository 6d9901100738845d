"""Files that are there whole or not at all, whatever happens to the process or the machine."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import SummandError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` to write a file, or a folder of files, to; it takes the place of `path` when the
    block ends, and is removed when the block raises. Whoever reads `path` meanwhile sees the old one or the new one,
    never a part; so does whoever reads it after a power cut, for all of it is on the disk before it is renamed. An
    error of the system that names no file (a full disk) gets the name of `path`."""
    path = Path(path)
    if not path.name:
        raise SummandError(f"{path} names no file; add a name")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        yield temporary
        flush(temporary)
        if temporary.is_dir() and path.is_dir() and not path.is_symlink():  # no folder can be replaced in one step
            old = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.old")
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, path)
        _flush_one(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the disk hold a file, or everything in a folder."""
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                _flush_one(Path(folder, name))
            _flush_one(Path(folder))
    else:
        _flush_one(path)


def _flush_one(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
