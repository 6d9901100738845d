"""Units switched off: what the model would have said had they always written their mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.second_order import with_neurons
from ...errors import SummandError
from ...maps.neuron_maps import second_order_maps
from ...models import Model
from ...models.ablations import Ablation, NeuronAblation
from ...survey import Group
from ...towers.residual import ResidualTower
from ...unit import units_of
from .known import Known
from .question import Along, Reading, Terms, terms_of


@dataclass(frozen=True)
class Off:
    """Heads (layer, head) and neurons (layer, neuron) that are switched off."""

    heads: tuple[tuple[int, int], ...] = ()
    neurons: tuple[tuple[int, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.heads or self.neurons)

    @property
    def names(self) -> list[str]:
        return [f"{layer}.{head}" for layer, head in self.heads] + [f"{layer}:{n}" for layer, n in self.neurons]

    @property
    def by_layer(self) -> dict[int, list[int]]:
        """layer → its neurons."""
        found: dict[int, list[int]] = {}
        for layer, neuron in self.neurons:
            found.setdefault(layer, []).append(neuron)
        return found


def switched_off(known: Known, units: Iterable[str] = (), properties: Iterable[str] = ()) -> Off:
    """Units by name, as 5.3 or 4:120, and all heads that are labelled with a property.

    Raises `SummandError` for what is neither a head nor a neuron of the model, and for an unknown property.
    """
    heads: list[tuple[int, int]] = []
    neurons: list[tuple[int, int]] = []
    tower = known.model.tower
    for unit in units_of(list(units)):
        if unit.group.kind == "heads":
            layer, head = unit.index
            if not (layer < tower.layers and head < tower.heads):
                raise SummandError(f"there is no head {unit}; heads are 0.0 to {tower.layers - 1}.{tower.heads - 1}")
            heads.append((layer, head))
        elif unit.group.kind == "neurons" and isinstance(tower, ResidualTower):
            layer, neuron = unit.group.layer or 0, unit.index[0]
            count = with_neurons(tower, [layer]).blocks[layer].neuron_output().shape[1]
            if neuron >= count:
                raise SummandError(f"there is no neuron {unit}; layer {layer} has {layer}:0 to {layer}:{count - 1}")
            neurons.append((layer, neuron))
        else:
            raise SummandError(f"{unit} cannot be switched off here: give heads (5.3) or MLP neurons (4:120)")
    for name in properties:
        if name not in known.properties:
            raise SummandError(f"no head is labelled {name!r}; there are {', '.join(known.properties) or 'none'}")
        heads += known.properties[name]
    return Off(tuple(sorted(set(heads))), tuple(sorted(set(neurons))))


def without(known: Known, off: Off) -> Model:
    r"""M′ = M − Σ_{heads} (φ − φ̄) − Σ_{neurons} (φ − φ̄): units at their mean over the survey, or, where that is not
    known, at nothing (φ̄ = 0)."""
    model = known.model
    if off.heads:
        means = known.means(Group("heads"))
        if means is None:
            means = torch.zeros(known.model.tower.head_maps().kept.shape[:-1])
        model = Ablation.of(known.model, off.heads, means).apply(model)
    for layer, neurons in off.by_layer.items():
        means = known.means(Group("neurons", layer))
        if means is None:
            paths = (known.model.tower.layers - layer - 1) * known.model.tower.heads
            means = torch.zeros(max(neurons) + 1, paths)
        model = NeuronAblation.of(known.model, layer, neurons, means).apply(model)
    return model


def at_means(known: Known, off: Off) -> bool:
    """Whether the mean of every unit that is off is known."""
    groups = [Group("heads")] * bool(off.heads) + [Group("neurons", layer) for layer in off.by_layer]
    return all(known.means(group) is not None for group in groups)


def terms_without(known: Known, reading: Reading, off: Off) -> Terms:
    """The terms of the same picture with these units off."""
    return terms_of(without(known, off), reading.pixels) if off else reading.terms


@torch.no_grad()
def map_without(reading: Reading, terms: Terms, along: Along, off: Off) -> Float[Tensor, "row column"]:
    r"""`token_map` of what the units that are off no longer write: Σ over the other heads, less what the neurons write
    through these. A mean comes from no patch.

    terms: with the units off, for the length ‖M′‖.
    """
    model, tower = reading.model, reading.model.tower
    left = torch.ones(reading.tokens.shape[:2])
    for layer, head in off.heads:
        left[layer, head] = 0
    tokens = torch.einsum("lhtd,lh->td", reading.tokens, left) @ reading.weights(along)
    found = tokens[tower.prefix :].unflatten(0, tower.grid)
    if off.neurons:
        direction = reading.direction(along)[None].to(model.device)
        gone = second_order_maps(model, reading.pixels, direction, neurons=off.by_layer, without=off.heads)
        found = found - gone[0, 0].float().cpu()
    return reading.scale / max(float(terms.output.norm()), 1e-12) * found
