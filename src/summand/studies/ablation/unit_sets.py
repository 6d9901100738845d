"""Ablations of units that were named: sets of heads, of neurons, of neuron–head pairs, or of latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.effects import Effects
from ...effects.pairs import with_pairs
from ...effects.second_order import with_neurons
from ...errors import SummandError
from ...maps.neuron_maps import check_latent
from ...models import Model
from ...statistics.moments import Mean
from ...survey import Group, Survey
from ...unit import Kind, Unit
from .accuracy import Batch, Family, Version
from .direct import HeadSets

Index = tuple[int, int]


class NeuronSets:
    """Sets of neurons, name → [(layer, neuron), …], their second-order effects replaced by the means.

    A neuron's effect is what it writes itself through later heads, so those of different layers add up.
    """

    rounds, axis = 1, ""
    kind: Kind = "neurons"

    def __init__(self, model: Model, sets: Mapping[str, Sequence[Index]], family: str = "terms") -> None:
        for neurons in sets.values():
            self._check(model, neurons)
        whole = {name: [(int(layer), int(neuron)) for layer, neuron in some] for name, some in sets.items()}
        self._sets = {name: list(dict.fromkeys(neurons)) for name, neurons in whole.items()}  # none is removed twice
        self._family = family
        self._means = {layer: Mean() for layer in sorted({layer for some in whole.values() for layer, _ in some})}

    def _check(self, model: Model, some: Sequence[Index]) -> None:
        check_neurons(model, some)

    def _written(self, batch: Batch, layer: int) -> Effects:
        return batch.second_order(layer)

    def learn(self, turn: int, batch: Batch) -> None:
        for layer, mean in self._means.items():
            mean.update(self._written(batch, layer).coefficients)

    def end(self, turn: int) -> None:
        pass

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means of a survey's neurons."""
        groups = {layer: Group(self.kind, layer) for layer in self._means}
        if not all(map(survey.holds, groups.values())):
            return False
        for layer, group in groups.items():
            self._means[layer].update(survey.moments(group).mean[None].to(device))
        return True

    def means(self, layer: int) -> Float[Tensor, "neuron path"]:
        """Mean coefficients of all neurons of a layer, fp64."""
        return self._means[layer].value

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        for name, chosen in self._sets.items():
            outputs = batch.total
            for layer in sorted({layer for layer, _ in chosen}):
                neurons = [neuron for at, neuron in chosen if at == layer]
                effects = self._written(batch, layer)
                centred = effects.coefficients[:, neurons] - self.means(layer)[neurons].to(effects.coefficients)
                outputs = outputs - effects.basis.select(neurons).total(centred)
            yield Version(self._family, name), outputs


class LatentSets(NeuronSets):
    """The same of latents of the model's autoencoders, name → [(layer, latent), …]."""

    kind: Kind = "latents"

    def _check(self, model: Model, some: Sequence[Index]) -> None:
        for layer, latent in some:
            check_latent(model, layer, latent)

    def _written(self, batch: Batch, layer: int) -> Effects:
        return batch.latents(layer)


class PairSets:
    """Sets of neuron–head pairs of an attention pool, name → [(neuron, head), …], replaced by their means."""

    rounds, axis = 1, ""

    def __init__(self, model: Model, sets: Mapping[str, Sequence[Index]], family: str = "terms") -> None:
        neurons, heads = with_pairs(model.tower).pair_directions().shape[:2]
        for pairs in sets.values():
            wrong = [f"{n}x{h}" for n, h in pairs if not (0 <= n < neurons and 0 <= h < heads)]
            if wrong:
                raise SummandError(
                    f"{model.name} has no pair {wrong[0]}; its neurons are 0 to {neurons - 1}, its heads 0 to "
                    f"{heads - 1}, written NEURONxHEAD"
                )
        self._sets = {name: list(dict.fromkeys(pairs)) for name, pairs in sets.items()}
        self._family, self._mean = family, Mean()

    def learn(self, turn: int, batch: Batch) -> None:
        self._mean.update(batch.pairs.coefficients)

    def end(self, turn: int) -> None:
        pass

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means of a survey's pairs."""
        if not survey.holds("pairs"):
            return False
        self._mean.update(survey.moments("pairs").mean[None].to(device))
        return True

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        effects = batch.pairs
        for name, pairs in self._sets.items():
            neurons = sorted({neuron for neuron, _ in pairs})
            centred = effects.coefficients[:, neurons] - self._mean.value[neurons].to(effects.coefficients)
            mask = torch.zeros(centred.shape[1:3], dtype=centred.dtype, device=centred.device)
            for neuron, head in pairs:
                mask[neurons.index(neuron), head] = 1
            removed = effects.basis.select(neurons).total(centred * mask[..., None])
            yield Version(self._family, name), batch.total - removed


def check_neurons(model: Model, neurons: Sequence[Index]) -> None:
    """Raises `SummandError` for neurons that the model does not have, or that have no second-order effects."""
    if not neurons:
        raise SummandError("a set of neurons needs at least one, written LAYER:NEURON such as 9:2914")
    for layer in sorted({layer for layer, _ in neurons}):
        count = with_neurons(model.tower, [layer]).neuron_directions(layer).shape[0]
        wrong = [neuron for at, neuron in neurons if at == layer and not 0 <= neuron < count]
        if wrong:
            raise SummandError(f"layer {layer} has neurons 0 to {count - 1}, not {wrong[0]}")


def of_sets(model: Model, sets: Sequence[Sequence[Unit]]) -> list[Family]:
    """The ablations of sets of units, each of one kind; those of one kind share their passes.

    Raises `SummandError` for units that the model does not have.
    """
    families = {"heads": HeadSets, "neurons": NeuronSets, "pairs": PairSets, "latents": LatentSets}
    found: list[Family] = []
    for kind, family in families.items():
        named = {
            f"{kind} {' '.join(map(str, some))}": [_index(unit) for unit in some]
            for some in sets
            if some[0].group.kind == kind
        }
        if named:
            found.append(family(model, named))
    return found


def _index(unit: Unit) -> Index:
    """(layer, head), (layer, neuron), (layer, latent) or (neuron, head)."""
    first, second = unit.index if unit.group.layer is None else (unit.group.layer, *unit.index)
    return first, second
