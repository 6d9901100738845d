"""A survey in a folder, from what a command line says of model and images before either is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import ImageSource
from ..models import Model
from .make import make
from .making import MOST_HELD_OUT as MOST_HELD_OUT
from .making import held_out_images as held_out_images
from .manifest import Manifest
from .survey import Survey
from .units import Group


def decompose(
    model: Model,
    source: ImageSource,
    out: str | Path,
    asked: Manifest,
    groups: Sequence[Group],
    *,
    batch_size: int = 64,
    restart: bool = False,
    progress: bool | None = True,
    checkpoint_every: float = 60.0,
) -> Survey:
    """Statistics of all units of the groups over all images of the source, in the folder `out` (see `make`)."""
    return make(
        *(model, source, asked, groups, out),
        **{"batch_size": batch_size, "restart": restart, "progress": progress, "every": checkpoint_every},
    )
