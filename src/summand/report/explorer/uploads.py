"""Where gradio puts the pictures that are sent: a folder of our own, for as long as anything is served.

gradio reads its place from an environment variable at every upload, and its usual one is shared by all programs on the
machine, each of which would serve the others' files.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

_NAME = "GRADIO_TEMP_DIR"


@dataclass
class _Held:
    """The folder, how many explorers of this process use it, and what the variable said before."""

    folder: Path | None = None
    users: int = 0
    before: str | None = None


_held, _lock = _Held(), Lock()


def take_folder() -> Path:
    """The folder, made for the first explorer of a process."""
    with _lock:
        if _held.folder is None:
            _held.folder, _held.before = Path(tempfile.mkdtemp(prefix="summand-explorer-")), os.environ.get(_NAME)
            os.environ[_NAME] = str(_held.folder)
            atexit.register(shutil.rmtree, _held.folder, ignore_errors=True)  # of one that nobody closed
        _held.users += 1
        return _held.folder


def leave_folder() -> None:
    """Deletes the folder with the last explorer."""
    with _lock:
        _held.users -= 1
        if _held.users or _held.folder is None:
            return
        shutil.rmtree(_held.folder, ignore_errors=True)
        if _held.before is None:
            os.environ.pop(_NAME, None)
        else:
            os.environ[_NAME] = _held.before
        _held.folder = None
