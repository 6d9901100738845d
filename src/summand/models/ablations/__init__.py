"""Units or axes held at their mean, or steered, at inference: a small file, and a model that applies it in one pass."""

from __future__ import annotations

import os

from ...effects.ablated import AblatedTower
from ...statistics import saving
from .axes import AxisRemoval
from .heads import Ablation
from .neurons import NeuronAblation
from .steering import Steering

__all__ = ["AblatedTower", "Ablation", "AxisRemoval", "NeuronAblation", "Steering", "load_ablation"]


def load_ablation(path: str | os.PathLike[str]) -> Ablation | NeuronAblation | AxisRemoval | Steering:
    """What the `save` of any of them wrote. Raises `SummandError` for any other file."""
    kinds = {edit.kind: edit for edit in (Ablation, NeuronAblation, AxisRemoval, Steering)}
    basis, found = saving.read(path, *kinds)
    made = kinds[str(found["kind"])]
    return saving.understood(path, made.kind, lambda: made.from_arrays(basis, found))
