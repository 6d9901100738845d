"""Repair of a shortcut: mean-ablate the units that carry a spurious attribute, and see what it does to every group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...data import ImageSource
from ...data.labelled import Labelled
from ...effects.published import Parity, check_parity
from ...effects.second_order import with_neurons
from ...errors import SummandError
from ...models import Model
from ...models.ablations import Ablation, NeuronAblation
from ...statistics.moments import Moments
from ..ablation.accuracy import Accuracies, measure, read
from ..ablation.direct import Head, HeadSets, Mlps, check_heads
from ..ablation.patched import Patch, PatchedClassifier
from ..ablation.together import Together
from ..ablation.unit_sets import NeuronSets, check_neurons
from ..verb import OptionError
from .groups import GroupAccuracy, group_accuracy

DRAWS = 5
_PAPER_CONTROL, _PAPER_LAYERS = 10, 4


@dataclass(frozen=True)
class Repair:
    """Accuracy by group before and after; random: after removing randomly drawn units, one for each draw, and drawn:
    which; patched: with the plain model and the patched classifier. ablation: what to apply at inference."""

    before: GroupAccuracy
    after: GroupAccuracy
    random: tuple[GroupAccuracy, ...]
    patched: GroupAccuracy
    classifier: PatchedClassifier
    ablation: Ablation | NeuronAblation
    runs: Accuracies
    drawn: tuple[tuple[Head, ...], ...] = ()

    @property
    def best_random(self) -> GroupAccuracy:
        """The draw with the best worst group: chosen with the labels, which the automatic choice never sees."""
        return max(self.random, key=lambda found: found.worst)

    def rows(self) -> list[dict[str, Any]]:
        """A row for every group that has images."""
        tables = {"before": self.before, "after": self.after, "patched": self.patched, "random": self.best_random}
        return [
            {
                "class": name,
                "group": value,
                "images": int(self.before.counts[i, j]),
                **{column: float(table.accuracy[i, j]) for column, table in tables.items()},
            }
            for i, name in enumerate(self.before.classes)
            for j, value in enumerate(self.before.values)
            if self.before.counts[i, j]
        ]

    def summary(self) -> dict[str, dict[str, float]]:
        """The worst group and the averages of every way."""
        tables = {"before": self.before, "after": self.after, "patched classifier": self.patched}
        tables |= {f"random {i + 1}": table for i, table in enumerate(self.random)}
        return {
            name: {"worst": table.worst, "weighted": table.weighted, "mean": table.mean, "balanced": table.balanced}
            for name, table in tables.items()
        }


def head_moments(
    model: Model,
    source: ImageSource,
    layers: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
) -> tuple[Moments, list[int]]:
    """Moments of the heads of these layers (all by default) over unlabelled images; and which layers."""
    where = check_layers(model, layers)
    moments = Moments()
    for batch in read(model, source, batch_size, "looking at heads", progress):
        moments.update(batch.parts.head_effects().select(where))
    return moments, where


def neuron_moments(
    model: Model, source: ImageSource, layer: int, batch_size: int = 64, progress: bool | None = False
) -> Moments:
    """Moments of the second-order effects of a layer's neurons over unlabelled images."""
    with_neurons(model.tower, [layer])
    moments = Moments()
    for batch in read(model, source, batch_size, "looking at neurons", progress):
        moments.update(batch.second_order(layer))
    return moments


def repair(
    model: Model,
    data: Labelled,
    weights: Float[Tensor, "class embed"],
    units: Sequence[Head],
    *,
    neurons: bool = False,
    layers: Sequence[int] | None = None,
    draws: int = DRAWS,
    control: int | None = None,
    seed: int = 0,
    means: ImageSource | None = None,
    why: Sequence[str] = (),
    parity: Parity = None,
    batch_size: int = 64,
    progress: bool | None = False,
) -> Repair:
    """Group accuracies of the model as it is, with `units` mean-ablated, and with random units.

    units: (layer, head), or with neurons=True (layer, neuron), all of one layer. Random heads are drawn from `layers`
    (all by default), random neurons from the same layer; never one of `units`. control: how many units
    a draw removes, by default as many as `units`. means: unlabelled images for the means, by default the labelled ones.

    parity="paper": a draw removes 10 heads (paper C, section 5.1); and as in its released code the MLPs and all heads
    but those of the last 4 layers are mean-ablated too, before what is chosen or drawn, with the draws from those 4.
    `ablation` holds the units alone.

    Raises `SummandError` for unknown units, and where there are not as many others to draw.
    """
    check_parity(parity)
    chosen = list(dict.fromkeys(units))
    if parity == "paper":
        if neurons:
            raise SummandError("paper C removes heads; with parity='paper' give heads, not neurons")
        control = _PAPER_CONTROL if control is None else control
        layers = range(_first_of_paper(model), model.tower.layers) if layers is None else layers
    others = _others(model, chosen, neurons, layers)
    size = len(chosen) if control is None else control
    if size < 1:
        raise SummandError(f"a random control removes at least one unit, got {size}")
    if draws and len(others) < size:
        raise SummandError(
            f"{len(chosen)} units are removed and only {len(others)} others could be drawn for the random control of "
            f"{size}; remove fewer, draw fewer (control), or draw from more layers"
        )
    rng = np.random.default_rng(seed)
    sets = {"chosen": chosen}
    for draw in range(draws):
        sets[f"random {draw + 1}"] = [others[i] for i in rng.choice(len(others), size, replace=False)]
    kind, ablated = (NeuronSets, sets) if neurons else (HeadSets, _with_early(model, sets, parity))
    removed = kind(model, ablated, "groups")
    family = removed if parity is None else Together([removed, Mlps(embedding=True)])
    patch = Patch(family)
    runs = measure(model, data, weights, [family, patch], means=means, batch_size=batch_size, progress=progress)
    tables = [group_accuracy(data, guesses, runs.indices) for guesses in runs.guesses]
    before, after, *random, patched = tables
    ablation: Ablation | NeuronAblation
    if isinstance(removed, NeuronSets):
        layer = chosen[0][0]
        ablation = NeuronAblation.of(model, layer, [neuron for _, neuron in chosen], removed.means(layer), why)
    else:
        ablation = Ablation.of(model, chosen, removed.means, why)
    drawn = tuple(tuple(some) for name, some in sets.items() if name != "chosen")
    made = patch.classifier(data.classes, weights)
    return Repair(before, after, tuple(random), patched, made, ablation, runs, drawn)


def _with_early(model: Model, sets: dict[str, list[Head]], parity: Parity) -> dict[str, list[Head]]:
    """With parity, every set together with all heads before the last 4 layers."""
    if parity is None:
        return sets
    early = [(layer, head) for layer in range(_first_of_paper(model)) for head in range(model.tower.heads)]
    return {name: [*early, *units] for name, units in sets.items()}


def _first_of_paper(model: Model) -> int:
    return max(0, model.tower.layers - _PAPER_LAYERS)


def check_layers(model: Model, layers: Sequence[int] | None) -> list[int]:
    """These layers in order, or all. Raises `SummandError` for layers that the model does not have."""
    count = model.tower.layers
    wrong = [layer for layer in layers or () if not 0 <= layer < count]
    if wrong:
        raise OptionError("layers", f"of {model.name} are 0 to {count - 1}, got {wrong}")
    return list(range(count)) if layers is None else sorted(set(layers))


def _others(model: Model, chosen: list[Head], neurons: bool, layers: Sequence[int] | None) -> list[Head]:
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
