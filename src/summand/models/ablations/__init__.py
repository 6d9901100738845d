"""Units or axes held at their mean at inference: a small file, and a model that applies it within its one pass."""

from __future__ import annotations

import os

from ...effects.ablated import AblatedTower
from ...statistics import saving
from .axes import AxisRemoval
from .heads import Ablation
from .neurons import NeuronAblation

__all__ = ["AblatedTower", "Ablation", "AxisRemoval", "NeuronAblation", "load_ablation"]


def load_ablation(path: str | os.PathLike[str]) -> Ablation | NeuronAblation | AxisRemoval:
    """What the `save` of any of them wrote. Raises `SummandError` for any other file."""
    kinds = {edit.kind: edit for edit in (Ablation, NeuronAblation, AxisRemoval)}
    basis, found = saving.read(path, *kinds)
    return kinds[str(found["kind"])].from_arrays(basis, found)
