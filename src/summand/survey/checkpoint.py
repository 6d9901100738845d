"""The state of an unfinished run, on disk: whatever happens, the last complete state is there to go on from."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..atomic import replacing
from ..data import Skipped
from ..errors import SummandError
from ..statistics.moments import Moments
from ..statistics.top_images import TopImages

FOLDER = "checkpoint"
_STATE = "state.json"
STAGES = ("moments", "top images", "held-out")


@dataclass
class State:
    """What a run has so far.

    stage and position: how many images of that stage went through. unsaved: stages with news since the last save.
    moments, tops, signals: by group; signals are x_n of held-out images. indices, embeddings (unit norm, fp16), norms:
    of all images that went through once.
    """

    stage: int = 0
    position: int = 0
    moments: dict[str, Moments] = field(default_factory=dict)
    tops: dict[str, TopImages] = field(default_factory=dict)
    signals: dict[str, list[np.ndarray]] = field(default_factory=dict)
    indices: list[int] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    residual: float | None = None
    seconds: float = 0.0
    passed: int = 0
    generation: int = 0
    files: dict[str, str] = field(default_factory=dict)
    unsaved: set[int] = field(default_factory=set)


def save(folder: Path, state: State) -> None:
    """Write what has changed under new names, then replace state.json, then drop the old files."""
    folder.mkdir(exist_ok=True)
    state.generation += 1
    changed: dict[str, str] = {}

    def path(key: str) -> Path:
        changed[key] = f"{key.replace('/', '.')}.{state.generation}.npz"
        return folder / changed[key]

    if 0 in state.unsaved:
        for name, moments in state.moments.items():
            moments.save(path(f"moments/{name}"))
    if 1 in state.unsaved:
        for name, top in state.tops.items():
            top.save(path(f"top/{name}"))
    if 2 in state.unsaved:
        for name, batches in state.signals.items():
            state.signals[name] = [np.concatenate(batches)]
            np.savez(path(f"signal/{name}"), signal=state.signals[name][0])
    if state.unsaved & {0, 2} and state.indices:
        state.embeddings = [np.concatenate(state.embeddings)]
        np.savez(
            path("images"), indices=np.array(state.indices), embeddings=state.embeddings[0], norms=np.array(state.norms)
        )
    state.files = {**state.files, **changed}
    written = {
        **{"stage": state.stage, "position": state.position, "residual": state.residual, "seconds": state.seconds},
        **{"passed": state.passed, "generation": state.generation, "files": state.files},
        "skipped": [[item.name, item.reason] for item in state.skipped],
    }
    with replacing(folder / _STATE) as temporary:
        temporary.write_text(json.dumps(written), encoding="utf-8")
    state.unsaved.clear()
    for file in folder.iterdir():
        if file.name != _STATE and file.name not in state.files.values():
            file.unlink(missing_ok=True)


def load(folder: Path, device: str) -> State | None:
    """The last complete state; None where there is none yet. Raises `SummandError` for one that is broken."""
    if not (folder / _STATE).is_file():
        return None
    try:
        found = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        state = State(**{**found, "skipped": [Skipped(name, reason) for name, reason in found["skipped"]]})
        for key, name in state.files.items():
            kind, _, group = key.partition("/")
            if kind == "moments":
                state.moments[group] = Moments.load(folder / name).to(device)
            elif kind == "top":
                state.tops[group] = TopImages.load(folder / name).to(device)
            else:
                with np.load(folder / name, allow_pickle=False) as arrays:
                    if kind == "signal":
                        state.signals[group] = [arrays["signal"]]
                    else:
                        state.indices, state.norms = arrays["indices"].tolist(), arrays["norms"].tolist()
                        state.embeddings = [arrays["embeddings"]]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, SummandError) as error:
        raise SummandError(f"the checkpoint in {folder} is broken ({error}); start anew with --restart") from error
    return state


def clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
