"""Repair of a shortcut: mean-ablate the units that carry a spurious attribute, and see what it does to every group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from ...statistics.moments import Mean, Moments
from ..ablation.direct import Head, HeadSets, Mlps, check_heads
from ..ablation.patched import Patch, PatchedClassifier
from ..ablation.run import Ablations, Batch, Version, ablate, read
from ..ablation.together import Together
from .groups import GroupAccuracy, group_accuracy

DRAWS = 5
_PAPER_CONTROL, _PAPER_LAYERS = 10, 4


@dataclass(frozen=True)
class Debiased:
    """Accuracy by group before and after; random: after removing randomly drawn units, one for each draw, and drawn:
    which; patched: with the plain model and the patched classifier. ablation: what to apply at inference."""

    before: GroupAccuracy
    after: GroupAccuracy
    random: tuple[GroupAccuracy, ...]
    patched: GroupAccuracy
    classifier: PatchedClassifier
    ablation: Ablation | NeuronAblation
    runs: Ablations
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
    model: Model, source: ImageSource, layers: int | None = None, batch_size: int = 64, progress: bool = False
) -> tuple[Moments, list[int]]:
    """Moments of the heads of the last layers (all by default) over unlabelled images; and which layers."""
    first = _first(model, layers)
    moments = Moments()
    for batch in read(model, source, batch_size, "looking at heads", progress):
        moments.update(batch.parts.head_effects().select(slice(first, None)))
    return moments, list(range(first, model.tower.layers))


def neuron_moments(
    model: Model, source: ImageSource, layer: int, batch_size: int = 64, progress: bool = False
) -> Moments:
    """Moments of the second-order effects of a layer's neurons over unlabelled images."""
    with_neurons(model.tower, [layer])
    moments = Moments()
    for batch in read(model, source, batch_size, "looking at neurons", progress):
        moments.update(batch.second_order(layer))
    return moments


def debias(
    model: Model,
    data: Labelled,
    weights: Float[Tensor, "class embed"],
    units: Sequence[Head],
    *,
    neurons: bool = False,
    layers: int | None = None,
    draws: int = DRAWS,
    control: int | None = None,
    seed: int = 0,
    means: ImageSource | None = None,
    why: Sequence[str] = (),
    parity: Parity = None,
    batch_size: int = 64,
    progress: bool = False,
) -> Debiased:
    """Group accuracies of the model as it is, with `units` mean-ablated, and with random units.

    units: (layer, head), or with neurons=True (layer, neuron), all of one layer. Random heads are drawn from the last
    `layers` layers (all by default), random neurons from the same layer; never one of `units`. control: how many units
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
        control, layers = _PAPER_CONTROL if control is None else control, _PAPER_LAYERS if layers is None else layers
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
    heads = NeuronSets(chosen[0][0], sets) if neurons else HeadSets(model, _with_early(model, sets, parity), "groups")
    family = heads if parity is None else Together([heads, Mlps(embedding=True)])
    patch = Patch(family)
    runs = ablate(model, data, weights, [family, patch], means=means, batch_size=batch_size, progress=progress)
    tables = [group_accuracy(data, guesses, runs.indices) for guesses in runs.guesses]
    before, after, *random, patched = tables
    if isinstance(heads, NeuronSets):
        ablation = NeuronAblation.of(model, chosen[0][0], [neuron for _, neuron in chosen], heads.means, why)
    else:
        ablation = Ablation.of(model, chosen, heads.means, why)
    drawn = tuple(tuple(units) for name, units in sets.items() if name != "chosen")
    made = patch.classifier(data.classes, weights)
    return Debiased(before, after, tuple(random), patched, made, ablation, runs, drawn)


def _with_early(model: Model, sets: dict[str, list[Head]], parity: Parity) -> dict[str, list[Head]]:
    """With parity, every set together with all heads before the last 4 layers."""
    if parity is None:
        return sets
    early = [(layer, head) for layer in range(_first(model, _PAPER_LAYERS)) for head in range(model.tower.heads)]
    return {name: [*early, *units] for name, units in sets.items()}


def _first(model: Model, layers: int | None) -> int:
    return 0 if layers is None else max(0, model.tower.layers - layers)


def _others(model: Model, chosen: list[Head], neurons: bool, layers: int | None) -> list[Head]:
    if not neurons:
        check_heads(model, chosen)
        pool = [
            (layer, head)
            for layer in range(_first(model, layers), model.tower.layers)
            for head in range(model.tower.heads)
        ]
        return [unit for unit in pool if unit not in chosen]
    if not chosen or len({layer for layer, _ in chosen}) != 1:
        raise SummandError("neurons to remove must be of one layer, written layer.neuron such as 3.17")
    layer = chosen[0][0]
    count = with_neurons(model.tower, [layer]).neuron_directions(layer).shape[0]
    wrong = [neuron for _, neuron in chosen if not 0 <= neuron < count]
    if wrong:
        raise SummandError(f"layer {layer} has neurons 0 to {count - 1}, not {wrong[0]}")
    return [(layer, neuron) for neuron in range(count) if (layer, neuron) not in chosen]


class NeuronSets:
    """Sets of neurons of one layer, their second-order effects replaced by the means."""

    rounds, axis = 1, ""

    def __init__(self, layer: int, sets: dict[str, list[Head]]) -> None:
        self._layer = layer
        self._sets = {name: [neuron for _, neuron in units] for name, units in sets.items()}
        self._mean = Mean()

    def learn(self, turn: int, batch: Batch) -> None:
        self._mean.update(batch.second_order(self._layer).coefficients)

    def end(self, turn: int) -> None:
        pass

    @property
    def means(self) -> Float[Tensor, "neuron path"]:
        """Mean coefficients of all neurons of the layer, fp64."""
        return self._mean.value

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        effects = batch.second_order(self._layer)
        centred = effects.coefficients - self._mean.value.to(effects.coefficients)
        for name, neurons in self._sets.items():
            removed = effects.basis.select(neurons).total(centred[:, neurons])
            yield Version("groups", name), batch.total - removed
