"""What was found of a row, in the folder of a run: the same question is not asked twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...atomic import replacing
from ...survey.manifest import versions
from .job import Job
from .row import Claim, Curve, Found


@dataclass(frozen=True)
class Kept:
    """What was found, of which models, and the seconds that it took: of the processor, and by the clock."""

    found: Found
    models: tuple[str, ...]
    cpu_seconds: float
    seconds: float
    before: bool = False
    """Whether it was there already."""


def key_of(job: Job, weights: str) -> str:
    """What tells two questions apart: the row, the options, the data and the models. weights: of a model that was
    given."""
    options = asdict(job.options) | {"again": False, "batch_size": 0}
    options["data"] = {
        name: str(path.absolute()) for name, path in job.options.places().items() if name in job.row.needs
    }
    asked = [versions().get("summand-clip"), job.row.id, options, [asdict(one) for one in job.weights], weights]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def read(folder: Path, job: Job, key: str) -> Kept | None:
    """What the folder holds of this very question; None where it holds nothing, or another one's."""
    try:
        there = json.loads(_file(folder, job).read_text(encoding="utf-8"))
        if there["key"] != key:
            return None
        found = there["found"]
        return Kept(
            Found(
                found["numbers"],
                [Claim(**claim) for claim in found["claims"]],
                [Curve(**{**curve, "x": tuple(curve["x"]), "y": tuple(curve["y"])}) for curve in found["curves"]],
                [(unit, words) for unit, words in found["words"]],
                found["notes"],
            ),
            tuple(there["models"]),
            there["cpu_seconds"],
            there["seconds"],
            before=True,
        )
    except (OSError, ValueError, KeyError, TypeError):  # none, or one that was cut short: it is made again
        return None


def write(folder: Path, job: Job, key: str, kept: Kept) -> None:
    """Keep it, whole or not at all."""
    path = _file(folder, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = asdict(replace(kept, before=False))
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"key": key, "row": job.row.id, **record}, indent=1, default=float) + "\n")


def _file(folder: Path, job: Job) -> Path:
    return folder / "rows" / f"{job.row.id.replace(':', '-')}.json"
