"""Units whose effects are scaled, or set, at inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.ablated import ROUNDED, AblatedTower, Found, Needs, network_of
from ...effects.autoencoder import Autoencoder
from ...effects.effects import Effects
from ...effects.pairs import with_pairs
from ...effects.second_order import latent_directions, with_neurons
from ...errors import SummandError
from ...towers import Trace
from ...towers.directions import Directions, alike
from ...towers.factored import Factored
from ...unit import Group, Unit, units_of
from .. import Model
from .moved import excess, heads_moved, neurons_moved, pairs_moved
from .steer_words import Steer, number_of, read_steer
from .stored import Stored, about

One = tuple[Unit, float, Tensor | None]
"""A unit, its factor, and what is put."""


@dataclass(frozen=True)
class Steering(Stored):
    r"""M'(x) = M(x) + Σ_u (k_u − 1) φ_u(x) + Σ_u b_u: effects of heads, neurons or pairs times k_u, or set to b_u.

    units: which; factors: k; puts: what is added to a unit's coefficients whatever the image is, in the form of
    `Effects.coefficients` of one unit ([channel] of a head, [path] of a neuron), None for nothing. k = 1 is no edit, 0
    a zero-ablation, and 0 with the mean coefficients the mean-ablation of papers A and C. As in these it is the effect
    that is scaled, on its way to the output: later layers read what they read. Neurons go through their later heads, so
    a neuron's effect is scaled again by a head that is. directions: of the last layer's channels, by which the model is
    recognised.
    """

    kind: ClassVar[str] = "steering"
    units: tuple[Unit, ...]
    factors: tuple[float, ...]
    puts: tuple[Tensor | None, ...]
    directions: Float[Tensor, "head channel embed"]
    model: str
    why: tuple[str, ...] = ()
    autoencoders: tuple[Autoencoder, ...] = ()

    @classmethod
    def of(cls, model: Model, steer: Steer, why: Sequence[str] = ()) -> Steering:
        """steer: unit → factor, or the coefficients that its effect is set to; or "10.3=0,9:2914=2". Raises
        `SummandError` for units that the model does not have, and factors that are no numbers."""
        wanted = {unit: value for unit, value in read_steer(steer).items() if number_of(value) != 1}
        units, puts, factors = tuple(wanted), [], []
        layers = sorted({unit.group.layer or 0 for unit in wanted if unit.group.kind == "latents"})
        found = tuple(model.autoencoder(layer) for layer in layers)
        for unit, value in wanted.items():
            size = _paths(model.tower, unit, model.name, found)
            number = number_of(value)
            factors.append(0.0 if number is None else number)
            puts.append(None if number is not None else _coefficients(unit, value, size))
        directions = network_of(model.tower).head_maps().kept[-1].detach().cpu()
        return cls(units, tuple(factors), tuple(puts), directions, model.name, tuple(why), found)

    def kept(self) -> tuple[Tensor, dict[str, Any]]:
        if self.autoencoders:
            raise SummandError("a file of steering holds no autoencoder; steer latents with steer= beside sae=")
        named = {"units": [str(unit) for unit in self.units], "factors": list(self.factors)}
        return self.directions, {**named, **{f"put{i}": put for i, put in enumerate(self.puts) if put is not None}}

    @classmethod
    def from_arrays(cls, basis: Directions, found: Mapping[str, np.ndarray]) -> Steering:
        units = units_of([str(name) for name in found["units"]])
        puts = [torch.from_numpy(found[f"put{i}"]) if f"put{i}" in found else None for i in range(len(units))]
        return cls(units, tuple(map(float, found["factors"])), tuple(puts), basis.dense(), *about(found))

    def apply(self, model: Model) -> Model:
        """The same model, steered; the wrapped network itself is not changed, and a model steered by nothing but 1 is
        the model. Raises `SummandError` where the file was made with another model."""
        if not self.units:
            return model
        return model.ablated(self, self._what, "steered")

    @property
    def _what(self) -> str:
        shown = [
            f"{unit} {'set' if put is not None else f'× {factor:g}'}"
            for unit, factor, put in zip(self.units, self.factors, self.puts, strict=True)
        ]
        return ", ".join(shown) if len(shown) < 5 else f"{len(shown)} units"

    def on(self, tower: Any, name: str) -> AblatedTower:
        """The tower, steered. Raises `SummandError` where it is not the one that the units are of."""
        now = network_of(tower).head_maps().kept[-1]
        if not alike(now.cpu(), self.directions.cpu(), relative=ROUNDED):
            raise SummandError(
                f"this steering was made with {self.model}, and its heads are not those of {name}; "
                f"make it anew with model.steer"
            )
        for unit in self.units:
            _paths(tower, unit, name, self.autoencoders)
        told = [torch.tensor(list(each.digest())) for each in self.autoencoders]
        numbers = [torch.tensor(self.factors), *told, *(put.flatten() for put in self.puts if put is not None)]
        left = {_index(unit): factor for unit, factor, _ in self.chosen("heads")}
        units = f"steered {[str(unit) for unit in self.units]}"
        return AblatedTower(
            *(tower, self._changed, self._what, units, torch.cat([each.double() for each in numbers]), self._needs),
            left=left,
            hold=self._held,
            done="steered",
        )

    def chosen(self, kind: str, layer: Any = None) -> list[One]:
        """The units of a kind, and of a layer, with what is done to them."""
        every = zip(self.units, self.factors, self.puts, strict=True)
        return [one for one in every if one[0].group.kind == kind and (layer is None or one[0].group.layer == layer)]

    @property
    def _needs(self) -> Needs:
        neurons = self.chosen("neurons")
        layers = tuple(sorted({unit.group.layer or 0 for unit, _, _ in neurons}))
        some = tuple(sorted({unit.index[0] for unit, _, _ in neurons}))
        return Needs(layers, some if layers else None, self.autoencoders, bool(self.chosen("pairs")))

    def _changed(self, tower: Any, trace: Trace, found: Found) -> Trace:
        needs = self._needs
        for layer in needs.layers:
            chosen = self.chosen("neurons", layer)
            effects = found[layer].select([(needs.neurons or ()).index(unit.index[0]) for unit, _, _ in chosen])
            trace = self._without(tower, trace, layer, chosen, effects, tower.neuron_directions(layer))
        for each in needs.latents:
            chosen = self.chosen("latents", each.layer)
            effects = found[each].select([unit.index[0] for unit, _, _ in chosen])
            trace = self._without(tower, trace, each.layer, chosen, effects, latent_directions(tower, each))
        if pairs := self.chosen("pairs"):
            rows = [_index(unit) for unit, _, _ in pairs]
            at = [neuron for neuron, _ in rows], [head for _, head in rows]
            now = found[None].coefficients[:, at[0], at[1], 0]
            much = now * (1 - torch.tensor([factor for _, factor, _ in pairs]).to(now)) - _stacked(pairs, 1).to(now).T
            trace = pairs_moved(trace, rows, much, tower.pair_directions()._left[at[0], at[1], 0])
        if heads := self.chosen("heads"):
            put = _stacked(heads, trace.values.shape[-1])
            trace = heads_moved(trace, [_index(unit) for unit, _, _ in heads], [k for _, k, _ in heads], put)
        return trace

    def _without(
        self, tower: Any, trace: Trace, layer: int, chosen: Sequence[One], effects: Effects, directions: Factored
    ) -> Trace:
        """The trace without what these neurons or latents write too much."""
        keep = torch.tensor([factor for _, factor, _ in chosen])
        put = _stacked(chosen, effects.coefficients.shape[-1])
        much = excess(effects, getattr(tower, "left", {}), keep, put)
        reads = directions.select([unit.index[0] for unit, _, _ in chosen])._left
        return neurons_moved(trace, layer, much, reads, tower.heads)

    def _held(self, effects: Effects, layer: Any, neurons: Sequence[int] | None, left: Tensor) -> Effects:
        """Second-order effects of a layer's neurons, or pairs (layer None), with the steered ones as they are now."""
        coefficients = effects.coefficients.clone()
        if layer is None:
            for unit, factor, put in self.chosen("pairs"):
                neuron, head = _index(unit)
                coefficients[:, neuron, head] = factor * coefficients[:, neuron, head] + (
                    0 if put is None else put.to(left)
                )
            return effects.with_coefficients(coefficients)
        every = range(coefficients.shape[1]) if neurons is None else neurons
        rows = {neuron: row for row, neuron in enumerate(every)}
        kind = "latents" if isinstance(layer, Autoencoder) else "neurons"
        if kind == "latents" and layer not in self.autoencoders:
            return effects
        for unit, factor, put in self.chosen(kind, getattr(layer, "layer", layer)):
            row = rows.get(unit.index[0])
            if row is not None:
                coefficients[:, row] = factor * coefficients[:, row] + (0 if put is None else put.to(left) * left)
        return effects.with_coefficients(coefficients)


def _index(unit: Unit) -> tuple[int, int]:
    first, second = unit.index
    return first, second


def _coefficients(unit: Unit, value: Any, size: int) -> Tensor:
    found = torch.as_tensor(value).detach().float().cpu()
    if tuple(found.shape) != (size,):
        raise SummandError(
            f"{unit} is set to its coefficients, {size} numbers (Effects.coefficients of one unit); got "
            f"{list(found.shape)}"
        )
    if not bool(found.isfinite().all()):
        raise SummandError(f"{unit} is set to NaN or infinite numbers")
    return found


def _stacked(chosen: Sequence[One], size: int) -> Float[Tensor, "unit size"]:
    return torch.stack([torch.zeros(size) if put is None else put.float() for _, _, put in chosen])


def _paths(tower: Any, unit: Unit, name: str, autoencoders: Sequence[Autoencoder] = ()) -> int:
    """How many coefficients an effect of this unit has. Raises `SummandError` where the model has no such unit."""
    kind = unit.group.kind
    if kind == "heads":
        layer, head = unit.index
        if layer not in range(tower.layers) or head not in range(tower.heads):
            last = Group("heads").unit((tower.layers - 1, tower.heads - 1))
            raise SummandError(f"{name} has heads 0.0 to {last}; got {unit}")
        return tower.channels
    if kind == "neurons":
        layer = unit.group.layer or 0
        count = with_neurons(tower, [layer]).blocks[layer].neuron_output().shape[1]
        if unit.index[0] >= count:
            raise SummandError(f"layer {layer} has neurons {layer}:0 to {layer}:{count - 1}; got {unit}")
        return (tower.layers - layer - 1) * tower.heads
    if kind == "pairs":
        neurons, heads = with_pairs(tower).pair_directions().shape[:2]
        if unit.index[0] >= neurons or unit.index[1] >= heads:
            raise SummandError(f"{name} has pairs 0x0 to {neurons - 1}x{heads - 1}; got {unit}")
        return 1
    found = next((each for each in autoencoders if each.layer == unit.group.layer), None)
    if found is None or unit.index[0] >= found.latents:
        last = "none" if found is None else f"{found.layer}#0 to {found.layer}#{found.latents - 1}"
        raise SummandError(f"{name} has latents {last} at that layer; got {unit}")
    return (tower.layers - found.layer - 1) * tower.heads
