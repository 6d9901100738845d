"""The state of an unfinished survey, on disk: whatever happens, the last complete state is there to go on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..atomic import replacing
from ..data import Skipped
from ..errors import SummandError
from . import store
from .engine import Consumer, Position

FOLDER = "checkpoint"
_STATE = "state.json"


class Checkpoint:
    """The states of a pass's consumers in a folder, in the format of everything else there. saved: called after each.

    Every state is written under a new name; then state.json is replaced, which says what belongs together; only then
    the old files go.
    """

    saved = "saved; the same command goes on from here"

    def __init__(self, out: Path, note: Callable[[Position], None]) -> None:
        self.folder, self._note = out / FOLDER, note
        self._files: dict[str, str] = {}
        self._generation = 0

    def save(self, position: Position, consumers: Mapping[str, Consumer], changed: Sequence[str]) -> None:
        self.folder.mkdir(exist_ok=True)
        self._generation += 1
        for name in changed:
            if state := consumers[name].state():
                self._files[name] = f"{name.replace('/', '.')}.{self._generation}.zarr"
                store.write(store.of_arrays(state), self.folder / self._files[name])
        written = {**asdict(position), "generation": self._generation, "files": self._files}
        with replacing(self.folder / _STATE) as temporary:
            temporary.write_text(json.dumps(written), encoding="utf-8")
        for path in self.folder.iterdir():
            if path.name != _STATE and path.name not in self._files.values():
                shutil.rmtree(path, ignore_errors=True)
        self._note(position)

    def load(self, consumers: Mapping[str, Consumer]) -> Position:
        """The last complete state; the beginning where there is none. Raises `SummandError` for one that is broken."""
        if not (self.folder / _STATE).is_file():
            return Position()
        try:
            found = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            self._generation, self._files = found.pop("generation"), found.pop("files")
            position = Position(**{**found, "skipped": [Skipped(**item) for item in found["skipped"]]})
            for name, file in self._files.items():
                consumers[name].restore(store.arrays_of(store.read(self.folder / file)))
        except (OSError, ValueError, KeyError, TypeError, SummandError) as error:
            raise SummandError(
                f"the checkpoint in {self.folder} is broken ({error}); start anew with --restart"
            ) from error
        return position

    @property
    def begun(self) -> bool:
        return (self.folder / _STATE).is_file()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
