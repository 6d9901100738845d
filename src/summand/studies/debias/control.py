"""What a repair is set against: random units of the same kind, none of them chosen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

from ...effects.second_order import with_neurons
from ...errors import SummandError
from ...models import Model
from ..ablation.direct import Head, check_heads
from ..ablation.unit_sets import check_neurons
from ..verb import OptionError

DRAWS = 5


def drawn_units(others: Sequence[Head], size: int, draws: int, seed: int) -> list[list[Head]]:
    """`draws` random sets of `size` of them; of fewer, as many as there are; every set once where there are no more."""
    size = min(size, len(others))
    if size < 1 or draws < 1:
        return []
    if comb(len(others), size) <= draws:
        return [list(some) for some in combinations(others, size)]
    rng = np.random.default_rng(seed)
    return [[others[i] for i in rng.choice(len(others), size, replace=False)] for _ in range(draws)]


def others_of(model: Model, chosen: list[Head], neurons: bool, layers: Sequence[int] | None) -> list[Head]:
    """Every unit of the same kind in these layers that is not chosen.

    Raises `SummandError` for chosen units that the model does not have, and for neurons of several layers.
    """
    if not neurons:
        check_heads(model, chosen)
        pool = [(layer, head) for layer in check_layers(model, layers) for head in range(model.tower.heads)]
        return [unit for unit in pool if unit not in chosen]
    if not chosen or len({layer for layer, _ in chosen}) != 1:
        raise SummandError("neurons to remove must be of one layer, written LAYER:NEURON such as 3:17")
    layer = chosen[0][0]
    check_neurons(model, chosen)
    count = with_neurons(model.tower, [layer]).neuron_directions(layer).shape[0]
    return [(layer, neuron) for neuron in range(count) if (layer, neuron) not in chosen]


def check_layers(model: Model, layers: Sequence[int] | None) -> list[int]:
    """These layers in order, or all. Raises `SummandError` for layers that the model does not have."""
    count = model.tower.layers
    wrong = [layer for layer in layers or () if not 0 <= layer < count]
    if wrong:
        raise OptionError("layers", f"of {model.name} are 0 to {count - 1}, got {wrong}")
    return list(range(count)) if layers is None else sorted(set(layers))
