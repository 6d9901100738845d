"""Repair of a shortcut: mean-ablate the units that carry a spurious attribute, and see what it does to every group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...data import ImageSource
from ...data.labelled import Labelled
from ...effects.published import Parity, check_parity
from ...errors import SummandError
from ...models import Model
from ...models.ablations import Ablation, AxisRemoval, NeuronAblation
from ...survey import Survey
from ..ablation.accuracy import Accuracies, Family, Version, measure
from ..ablation.direct import Head, HeadSets, Mlps
from ..ablation.patched import Patch, PatchedClassifier
from ..ablation.together import Together
from ..ablation.unit_sets import NeuronSets
from .control import DRAWS, drawn_units, others_of
from .groups import GroupAccuracy, group_accuracy
from .options import Way
from .ways import Only, Ways

Edit = Ablation | NeuronAblation | AxisRemoval
_PAPER_CONTROL, _PAPER_LAYERS = 10, 4


@dataclass(frozen=True)
class Repair:
    """Accuracy by group before and after; random: after removing randomly drawn units, one for each draw, and drawn:
    which; patched: with the plain model and the patched classifier. ablation: what to apply at inference, None where
    nothing was done. ways: accuracy under every way; way: the one that was taken."""

    before: GroupAccuracy
    after: GroupAccuracy
    random: tuple[GroupAccuracy, ...]
    patched: GroupAccuracy
    classifier: PatchedClassifier
    ablation: Edit | None
    runs: Accuracies
    drawn: tuple[tuple[Head, ...], ...] = ()
    ways: dict[Way, GroupAccuracy] = field(default_factory=dict)
    way: Way | None = "units"

    @property
    def best_random(self) -> GroupAccuracy | None:
        """The draw with the best worst group: chosen with the labels, which the automatic choice never sees. None where
        there was no other unit to draw."""
        return best(self.random)

    def rows(self) -> list[dict[str, Any]]:
        """A row for every group that has images."""
        random = self.best_random
        tables = {"before": self.before, "after": self.after, "patched": self.patched, "random": random}
        return [
            {
                "class": name,
                "group": value,
                "images": int(self.before.counts[i, j]),
                **{column: float("nan" if table is None else table.accuracy[i, j]) for column, table in tables.items()},
            }
            for i, name in enumerate(self.before.classes)
            for j, value in enumerate(self.before.values)
            if self.before.counts[i, j]
        ]

    def summary(self) -> dict[str, dict[str, float]]:
        """The worst group and the averages of every way."""
        tables = {"before": self.before, "after": self.after, "patched classifier": self.patched, **self.ways}
        tables |= {f"random {i + 1}": table for i, table in enumerate(self.random)}
        return {
            name: {"worst": table.worst, "weighted": table.weighted, "mean": table.mean, "balanced": table.balanced}
            for name, table in tables.items()
        }


def best(tables: Sequence[GroupAccuracy]) -> GroupAccuracy | None:
    """The table of the best worst group."""
    return max(tables, key=lambda found: found.worst, default=None)


def repair(
    model: Model,
    data: Labelled,
    weights: Float[Tensor, "class embed"],
    units: Sequence[Head],
    *,
    neurons: bool = False,
    axes: Float[Tensor, "axis embed"] | None = None,
    way: Way | None = "units",
    strength: float = 1.0,
    layers: Sequence[int] | None = None,
    draws: int = DRAWS,
    control: int | None = None,
    seed: int = 0,
    means: ImageSource | None = None,
    why: Sequence[str] = (),
    parity: Parity = None,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> Repair:
    """Group accuracies of the model as it is, repaired in every way (`Ways`), and without random units.

    units: (layer, head), or with neurons=True (layer, neuron), all of one layer. axes: of the attribute's texts;
    without them the one way is to hold the units at their means. way: the one that is taken, None for none; strength:
    of "measured". Random heads are drawn from `layers` (all by default), random neurons from the same layer; never one
    of `units`. control: how many units a draw removes, by default as many as `units`, and never more than there are
    others; where there are no more combinations than draws, each is taken once. means: unlabelled images for the means,
    by default the labelled ones; survey: of these, what it holds is not learnt again.

    parity="paper": a draw removes 10 heads (paper C, section 5.1); and as in its released code the MLPs and all heads
    but those of the last 4 layers are mean-ablated too, before what is chosen or drawn, with the draws from those 4.
    `ablation` holds the units alone.

    Raises `SummandError` for unknown units.
    """
    check_parity(parity)
    chosen = list(dict.fromkeys(units))
    if parity == "paper":
        if neurons:
            raise SummandError("paper C removes heads; with parity='paper' give heads, not neurons")
        control = _PAPER_CONTROL if control is None else control
        layers = range(_first_of_paper(model), model.tower.layers) if layers is None else layers
    if control is not None and control < 1:
        raise SummandError(f"a random control removes at least one unit, got {control}")
    if axes is None and not chosen:
        raise SummandError("expected units to remove, or axes of an attribute; got neither")
    others = others_of(model, chosen, neurons, layers) if chosen else []
    sets = {"chosen": chosen} if chosen else {}
    for draw, some in enumerate(drawn_units(others, control or len(chosen), draws, seed), start=1):
        sets[f"random {draw}"] = some
    families: list[Family] = []
    removed: HeadSets | NeuronSets | None = None
    if sets:
        removed = NeuronSets(model, sets, "groups") if neurons else HeadSets(
            model, _with_early(model, sets, parity), "groups"
        )  # fmt: skip
        families.append(removed if parity is None else Together([removed, Mlps(embedding=True)]))
    edits: Ways | None = None
    if axes is not None:
        of_heads: tuple[Way, ...] = ("measured", "units-axis") if chosen and not neurons else ()
        edits = Ways(model, [] if neurons else chosen, axes, strength, (*of_heads, "terms-axis", "text-axis"))
        families.append(edits)
    if way is not None and (way not in (edits.ways if edits else ())) and not (way == "units" and chosen):
        raise SummandError(f"{way} needs {'units' if way == 'units' else 'heads and the axes of an attribute'}")
    patch = None
    if way is not None:
        patch = Patch(families[0] if edits is None or way == "units" else Only(edits, way))
        families.append(patch)
    runs = measure(model, data, weights, families, means=means, survey=survey, batch_size=batch_size, progress=progress)
    before, *others_ = [group_accuracy(data, guesses, runs.indices) for guesses in runs.guesses]
    tables = {version.name: table for version, table in zip(_named(sets, edits, patch), others_, strict=True)}
    by_way: dict[Way, GroupAccuracy] = {}
    if chosen:
        by_way["units"] = tables["chosen"]
    by_way |= {name: tables[name] for name in (edits.ways if edits else ())}
    ablation: Edit | None = None
    if way == "units" and isinstance(removed, NeuronSets):
        layer = chosen[0][0]
        ablation = NeuronAblation.of(model, layer, [neuron for _, neuron in chosen], removed.means(layer), why)
    elif way == "units":
        assert isinstance(removed, HeadSets)
        ablation = Ablation.of(model, chosen, removed.means, why)
    elif way is not None:
        assert edits is not None
        ablation = edits.edit(way, why)
    taken = {name: tuple(some) for name, some in sets.items() if name != "chosen"}
    return Repair(
        before=before,
        after=before if way is None else by_way[way],
        random=tuple(tables[name] for name in taken),
        patched=before if patch is None else tables["patched"],
        classifier=_unpatched(data.classes, weights) if patch is None else patch.classifier(data.classes, weights),
        ablation=ablation,
        runs=runs,
        drawn=tuple(taken.values()),
        ways=by_way,
        way=way,
    )


def _named(sets: Mapping[str, Any], edits: Ways | None, patch: Patch | None) -> list[Version]:
    """The versions that were measured, in their order."""
    names = [*sets, *(edits.ways if edits else ()), *(["patched"] if patch else [])]
    return [Version("groups", name) for name in names]


def _unpatched(names: tuple[str, ...], weights: Tensor) -> PatchedClassifier:
    return PatchedClassifier(names, weights.cpu().double(), torch.zeros(len(names), dtype=torch.float64))


def _with_early(model: Model, sets: dict[str, list[Head]], parity: Parity) -> dict[str, list[Head]]:
    """With parity, every set together with all heads before the last 4 layers."""
    if parity is None:
        return sets
    early = [(layer, head) for layer in range(_first_of_paper(model)) for head in range(model.tower.heads)]
    return {name: [*early, *units] for name, units in sets.items()}


def _first_of_paper(model: Model) -> int:
    return max(0, model.tower.layers - _PAPER_LAYERS)
