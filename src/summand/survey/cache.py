"""A survey for a study that was given none: made over the images at hand, kept, and found again the next time."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..data import ImageSource
from ..data.sources import read_batch
from ..models import Model, pixels_of
from ..models.foreign import holds_foreign_code
from ..models.text_store import cache_folder
from ..progress import QUICK, duration, is_shown
from ..towers.listening import hooks_of
from .fingerprints import names_hash, weights_hash
from .make import make
from .manifest import Manifest
from .survey import Survey
from .units import Group


def survey_of(
    model: Model,
    source: ImageSource,
    groups: Sequence[Group],
    *,
    held_out: float = 0.0,
    top: int | None = None,
    keep: Sequence[int] = (),
    batch_size: int = 64,
    progress: bool | None = None,
) -> Survey:
    """The survey of these groups over these images, from the cache folder (SUMMAND_CACHE, else the platform's) where it
    is known: by what the model computes, by the images (names, sizes, times of change), and by the options.

    One that takes over two seconds says so on stderr. Of a model with hooks or code of the user, whose results no hash
    can tell, nothing is kept.
    """
    asked = Manifest.of(model.origin or model.name, source, None, top=top, held_out=held_out, kept=keep)
    modules = list(model.clip.modules())
    known = not holds_foreign_code(modules) and not any(hooks_of(module) for module in modules)
    out = _place(_key(model, source, groups, asked)) if known else None
    began = time.monotonic()
    # files that cannot be read are the study's to tell, however many there are
    found = make(model, source, asked, groups, out, batch_size=batch_size, progress=progress, max_skipped=1.0)
    took = time.monotonic() - began
    if is_shown(progress) and took > QUICK:
        where = "" if found.path is None else ", and kept for the next time"
        print(f"surveyed {source.label} ({duration(took)}){where}", file=sys.stderr, flush=True)
    return found


def _place(key: str) -> Path | None:
    """Where a survey is kept; None where the cache folder cannot be written to."""
    folder = cache_folder() / "surveys"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / key if os.access(folder, os.W_OK) else None


def _key(model: Model, source: ImageSource, groups: Sequence[Group], asked: Manifest) -> str:
    first = read_batch(source, range(min(2, len(source))), [])
    pixels = pixels_of(model, first.images) if first.indices else None
    known = {
        **{"weights": weights_hash(model), "dtype": str(model.dtype), "source": source.label},
        **{"images": names_hash(source), "files": asked.states, "groups": [group.name for group in groups]},
        **{"top": asked.top, "held_out": asked.held_out, "kept": asked.kept, "origin": _origin(asked)},
        # the same files mean other pixels where they are preprocessed otherwise
        "pixels": "" if pixels is None else hashlib.sha256(pixels.float().cpu().numpy().tobytes()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _origin(asked: Manifest) -> dict[str, object]:
    return asdict(asked.origin) if asked.origin is not None else {"wrapped": asked.model}
