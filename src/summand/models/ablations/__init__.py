"""Units mean-ablated at inference: a small file, and a model that applies it within its one forward pass."""

from __future__ import annotations

import os

from ...effects.ablated import AblatedTower
from ...statistics import saving
from .heads import HEADS, Ablation
from .neurons import NEURONS, NeuronAblation

__all__ = ["AblatedTower", "Ablation", "NeuronAblation", "load_ablation"]


def load_ablation(path: str | os.PathLike[str]) -> Ablation | NeuronAblation:
    """What the `save` of either wrote. Raises `SummandError` for any other file."""
    basis, found = saving.read(path, HEADS, NEURONS)
    kind = Ablation if str(found["kind"]) == HEADS else NeuronAblation
    return kind.from_arrays(basis, found)
