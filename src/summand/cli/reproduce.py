"""The papers' tables and figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import summand

from ..studies.reproduce.options import ReproduceOptions
from .adapter import command
from .options import ModelOptions, Show


@dataclass(frozen=True)
class PapersModelOptions(ModelOptions):
    """The same for what has a model of its own."""

    model: str | None = None  # type: ignore[assignment]
    """In the place of the paper's own [default: the paper's, or that of the scenes]."""


@command
def reproduce(row: str = "list", *, options: ReproduceOptions, model: PapersModelOptions, show: Show):
    def load(weights: Any) -> Any:
        return replace(model, model=weights.name, pretrained=weights.tag).load()

    given = None if model.model is None else model.load()
    folder = show.out if show.out is not None and not show.out.suffix else None
    return summand.reproduce(row, given, options=options, out=folder, load=load)
