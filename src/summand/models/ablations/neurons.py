"""Neurons whose second-order effects always are their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.ablated import ROUNDED, AblatedTower, Found, Needs
from ...effects.activations import check_layer
from ...effects.effects import Effects
from ...effects.second_order import with_neurons
from ...errors import SummandError
from ...towers import Trace
from ...towers.directions import Directions, alike
from ...whole_numbers import whole_number
from .. import Model
from .moved import excess, neurons_moved
from .stored import Stored, about


@dataclass(frozen=True)
class NeuronAblation(Stored):
    r"""M'(x) = M(x) − Σ_{n ∈ S} (φ_n(x) − φ̄_n): second-order effects of a layer's neurons replaced by their means.

    What a neuron adds through a later head it adds to the values of that head (paper A, Eq. 5), so the ablated model
    is the same sum with other head coefficients: Σ_i a_i v_i loses Σ_n (s_n(x) − s̄_n) w_n γ W_V of the head.

    means: s̄, the mean coefficient of every chosen neuron for each later head, [neuron, path]; reads: w_n γ W_V,
    [neuron, path, channel], by which the model is recognised. why: a sentence for each neuron.
    """

    kind: ClassVar[str] = "neuron ablation"
    layer: int
    neurons: tuple[int, ...]
    means: Float[Tensor, "neuron path"]
    reads: Float[Tensor, "neuron path channel"]
    model: str
    why: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: Model,
        layer: int,
        neurons: Sequence[int],
        means: Float[Tensor, "every path"],
        why: Sequence[str] = (),
    ) -> NeuronAblation:
        """means: mean coefficients of all neurons, as `Moments.mean` of `model.second_order(x, layer)` has them."""
        tower = with_neurons(model.tower, [layer])
        layer = check_layer(tower, layer)
        count = tower.blocks[layer].neuron_output().shape[1]
        wrong = [n for n in neurons if whole_number(n) not in range(count)]
        if wrong or not len(neurons):
            raise SummandError(f"layer {layer} has neurons 0 to {count - 1}; got {wrong[0] if wrong else 'none'}")
        neurons = [int(n) for n in neurons]
        reads = tower.neuron_directions(layer).select(neurons)._left.detach().cpu()
        return cls(layer, tuple(neurons), means[neurons].to(reads).cpu(), reads, model.name, tuple(why))

    def kept(self) -> tuple[Tensor, dict[str, Any]]:
        return self.reads, {"layer": self.layer, "neurons": torch.tensor(self.neurons), "means": self.means}

    @classmethod
    def from_arrays(cls, basis: Directions, found: Mapping[str, np.ndarray]) -> NeuronAblation:
        neurons = tuple(int(n) for n in found["neurons"])
        means = torch.from_numpy(found["means"])
        return cls(int(found["layer"]), neurons, means, basis.dense(), *about(found))

    def apply(self, model: Model) -> Model:
        """The same model with these neurons ablated; the wrapped network itself is not changed.

        Raises `SummandError` where the file was made with another model.
        """
        return model.ablated(self, f"{len(self.neurons)} neurons of layer {self.layer}")

    def on(self, tower: Any, name: str) -> AblatedTower:
        """The tower with these neurons ablated. Raises `SummandError` where they are not those of this tower."""
        if not self._fits(tower):
            raise SummandError(
                f"this ablation was made with {self.model}, and its neurons are not those of {name}; "
                f"make a new one with summand debias --units neurons:{self.layer}"
            )
        what = f"{len(self.neurons)} neurons of layer {self.layer}"
        units = f"neurons {self.layer} {self.neurons}"
        needs = Needs((self.layer,), self.neurons)
        return AblatedTower(tower, self._changed, what, units, self.means, needs, hold=self._held)

    def _held(self, effects: Effects, layer: Any, neurons: Sequence[int] | None, left: Tensor) -> Effects:
        """Second-order effects of a layer with these neurons' at their means. neurons: which of the layer's they are
        of; all by default. left: what is left of each path."""
        if layer != self.layer:
            return effects
        every = range(effects.coefficients.shape[1]) if neurons is None else neurons
        rows = {neuron: row for row, neuron in enumerate(every)}
        coefficients = effects.coefficients.clone()
        for neuron, mean in zip(self.neurons, self.means.to(coefficients), strict=True):
            if neuron in rows:
                coefficients[:, rows[neuron]] = mean * left
        return effects.with_coefficients(coefficients)

    def _fits(self, tower: Any) -> bool:
        try:
            now = with_neurons(tower, [self.layer]).neuron_directions(self.layer)._left
        except SummandError:
            return False
        if max(self.neurons) >= len(now):
            return False
        return alike(now[list(self.neurons)].cpu(), self.reads.cpu(), relative=ROUNDED)

    def _changed(self, tower: Any, trace: Trace, found: Found) -> Trace:
        keep = torch.zeros(len(self.neurons))
        much = excess(found[self.layer], getattr(tower, "left", {}), keep, self.means)
        return neurons_moved(trace, self.layer, much, self.reads, tower.heads)
