"""A tower in which some units always write their mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..towers import Trace
from ..towers.base import HeadMaps
from ..towers.bound import Bound
from ..towers.factored import Factored
from ..towers.precision import doubled
from ..towers.view import Visit
from .autoencoder import Autoencoder
from .effects import Effects

Network = TypeVar("Network")

ROUNDED = 2e-2
"""How far directions may be from those of the file, relative to their size: as far as bf16 rounds the weights."""

Hold = Callable[[Effects, Any, Sequence[int] | None, Tensor], Effects]
"""(second-order effects, their layer, which neurons of it, what is left of each path) → the same with the ablated units
at their means; or of the pairs of a pool, with None for the layer, or of latents, with their autoencoder."""

Found = Mapping[Any, Effects]
"""Second-order effects by their layer or autoencoder, or under None those of an attention pool's pairs."""

Change = Callable[[Any, Trace, Found], Trace]
"""(tower, its trace, its effects that were asked for) → the trace with the ablated units' part replaced."""

_WHOLE = "load it without ablation= (and steer=) for that"


@dataclass(frozen=True)
class Needs:
    """Effects that are asked of a pass beside its trace: second-order ones of neurons of some layers (neurons: which of
    each, None for all) and of latents, or those of an attention pool's pairs."""

    layers: tuple[int, ...] = ()
    neurons: tuple[int, ...] | None = None
    latents: tuple[Autoencoder, ...] = ()
    pairs: bool = False

    def and_(self, other: Needs) -> Needs:
        """What both ask for, and of a layer perhaps more."""
        layers = tuple(sorted({*self.layers, *other.layers}))
        asked = [each.neurons for each in (self, other) if each.layers]
        some = None if None in asked else tuple(sorted({n for each in asked if each is not None for n in each}))
        latents = tuple(dict.fromkeys((*self.latents, *other.latents)))
        return Needs(layers, some if layers else None, latents, self.pairs or other.pairs)

    def of(self, found: Found, more: Needs) -> dict[Any, Effects]:
        """What was asked for, of what was found for more."""
        rows = {neuron: row for row, neuron in enumerate(more.neurons or ())}
        chosen: dict[Any, Effects] = {}
        for key in (*self.layers, *self.latents, *([None] if self.pairs else [])):
            fewer = key in self.layers and self.neurons is not None and self.neurons != more.neurons
            neurons = [rows.get(neuron, neuron) for neuron in self.neurons or ()]
            chosen[key] = found[key].select(neurons) if fewer else found[key]
        return chosen


class AblatedTower(Bound):
    r"""`change(tower, trace, found)` is the trace of a pass of the tower inside with the units' part of the heads'
    coefficients replaced by its mean; found: effects in that same pass, those of `needs`. However many ablations lie
    in each other, the network makes one pass. what: the units, for a reader; units and means: what a hash of the model
    takes in as well.

    left: of ablated heads (layer, head), how much of their deviation from the mean is left: 0 where they always write
    their mean, below 0 where more than the whole of it was taken away. hold: puts ablated neurons' second-order effects
    at their means. turn: what becomes of the heads' directions, where it is these that the ablation changes.

    `decompose` explains the ablated model, and its terms sum to what `encode` returns: the sum of the trace. The
    network itself runs unchanged, so later layers still read what the units wrote (the ablation of an effect, as in
    papers A and C); this is not the same as zeroing weights. So activations and first-order effects are those of the
    network, and of what a neuron adds through a later head there is left:

        φ'_n = Σ_h left_h φ_n^h for every neuron; with n ablated, its mean Σ_h left_h φ̄_n^h.

    What a neuron adds through a head at its mean is nothing: the head writes that whatever the neuron does, and the
    mean is among the constant terms. Σ_n φ'_n and all other terms of M' sum to M'(x). The pairs of an attention pool
    are held in the same way. An effect that is measured in a pass of its own (`indirect`), tokens, and the papers'
    even shares of constants are refused.

    It is a tower of the same class as the one without the ablation for every test that code makes of it.
    """

    keep = "copy or pickle the summand.Model, which makes its towers anew"

    def __init__(
        self,
        tower: Any,
        change: Change,
        what: str,
        units: str,
        means: Tensor,
        needs: Needs = Needs(),
        left: Mapping[tuple[int, int], float] | None = None,
        hold: Hold | None = None,
        turn: Callable[[Tensor], Tensor] | None = None,
        done: str = "ablated",
    ) -> None:
        self._tower, self._change, self._needs, self._hold, self._turn = tower, change, needs, hold, turn
        self._before, self._left = getattr(tower, "left", {}), dict(left or {})
        either = {**self._before, **self._left}
        self.left = {head: self._before.get(head, 1.0) * self._left.get(head, 1.0) for head in either}
        self._maps: HeadMaps | None = None
        self.ablation = getattr(tower, "ablation", b"") + units.encode() + doubled(means).cpu().numpy().tobytes()
        self.kind = f"{tower.kind} with {what} {done}"

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride,reportIncompatibleVariableOverride]
        return type(self.whole)

    @property
    def inside(self) -> Any:
        """The tower that this ablation is of."""
        return self._tower

    @property
    def whole(self) -> Any:
        """The tower without the ablation."""
        return getattr(self._tower, "whole", self._tower)

    def __getattr__(self, name: str) -> Any:
        if name == "_tower":
            raise AttributeError(name)
        found = getattr(self._tower, name)
        if self._turn is None or name not in ("neuron_directions", "pair_directions"):
            return found
        return lambda *layer: Factored(found(*layer)._left, self._behind(*layer))

    def _behind(self, layer: int | None = None) -> Tensor:
        """The heads' directions that neurons of a layer go through, or the pairs of the pool."""
        kept = self.head_maps().kept
        return kept[0][:, None] if layer is None else kept[layer + 1 :].flatten(0, 1)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Float[Tensor, "image embed"]:
        return self._sum(self.run(pixels)).to(pixels.dtype)

    def _sum(self, trace: Trace) -> Float[Tensor, "image embed"]:
        coefficients = (trace.values * trace.scale[:, None, None, None]).flatten(1)
        heads = coefficients @ self.head_maps().kept.flatten(0, 2).to(coefficients)
        return trace.embedding + heads + trace.mlps.sum(dim=1) + trace.bias

    def confirm(self, trace: Trace, pixels: Tensor) -> None:
        """Raises `SummandError` where another pass gives another sum."""
        if self.guard is not None:
            self.guard.confirm(self, trace, pixels)

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None) -> Trace:
        if visit is not None:
            raise SummandError(
                "an ablated model can be taken apart into heads, MLPs and the rest, but not into tokens; load it "
                "without ablation= (and steer=) for maps"
            )
        return self.read(pixels, Needs())[1]

    def read(self, pixels: Tensor, asked: Needs) -> tuple[dict[Any, Effects], Trace]:
        """In one pass: the effects that are asked for, as the tower inside has them, and this tower's trace."""
        from .seen import seen  # it asks towers like this one

        both = asked.and_(self._needs)
        found, trace = seen(self._tower, pixels, both)
        changed = self._change(self._tower, trace, self._needs.of(found, both))
        return asked.of(found, both), replace(changed, streamed=None)  # the network itself runs unchanged

    def head_maps(self) -> HeadMaps:
        if self._turn is None:
            return self._tower.head_maps()
        if self._maps is None:
            self._maps = HeadMaps(self._turn(self._tower.head_maps().kept))
        return self._maps

    def held(self, effects: Effects, layer: Any, neurons: Sequence[int] | None) -> Effects:
        """Effects of neurons or latents as the ablated model has them; effects: those of the tower inside."""
        if self._hold is not None:
            effects = self._hold(effects, layer, neurons, shares(self._before, effects))
        through = shares(self._left, effects)
        found = effects.with_coefficients(effects.coefficients * through)
        return self._turned(found, getattr(layer, "layer", layer))

    def held_pairs(self, effects: Effects, trace: Trace) -> Effects:
        """Pairs of an attention pool as the ablated model has them, of those of the tower inside. trace: this one's."""
        heads = range(effects.coefficients.shape[2])
        through = torch.tensor([self._left.get((0, head), 1.0) for head in heads]).to(effects.coefficients)
        if self._hold is not None:
            effects = self._hold(effects, None, None, through)
        coefficients = effects.coefficients * through[:, None]
        found = self._turned(effects.with_coefficients(coefficients))
        rest = self._sum(trace).to(coefficients) - found.basis.total(coefficients)
        return found.with_coefficients(coefficients, rest)

    def _turned(self, effects: Effects, layer: int | None = None) -> Effects:
        """The same coefficients, through heads whose directions were changed."""
        if self._turn is None:
            return effects
        basis = effects.basis
        assert isinstance(basis, Factored)
        names = {"units": effects.units, "paths": effects.paths, "path_index": effects.path_index}
        return Effects(effects.coefficients, Factored(basis._left, self._behind(layer)), **names)

    def evenly(self) -> Any:
        raise SummandError(f"parity='paper' is defined for a model that is whole, not for an ablated one; {_WHOLE}")

    def enter(self, pixels: Tensor) -> Any:
        """Refused: what goes on from the first tokens block by block explains the network, not the ablated model."""
        raise SummandError(
            "this method follows the network block by block, which an ablation leaves as it is, and would explain the "
            f"model without it; {_WHOLE}"
        )

    def readout(self, tokens: Tensor) -> Any:
        """Refused: a pass that goes on from an edited stream ends in the network's output, not in the ablated one."""
        raise SummandError(
            f"indirect effects are measured by passes of the network itself, in which nothing is ablated; {_WHOLE}"
        )


def shares(left: Mapping[tuple[int, int], float], effects: Effects) -> Float[Tensor, " path"]:
    """What is left of the head that each path of second-order effects goes through."""
    found = [left.get((path[0], path[1]), 1.0) for path in effects.path_index or ()]
    return torch.tensor(found).to(effects.coefficients)


def as_ablated(tower: Any) -> AblatedTower | None:
    """The tower where it is an `AblatedTower`, which says of itself that it is of the class of the tower inside."""
    return tower if type(tower) is AblatedTower else None


def network_of(tower: Network) -> Network:
    """The tower of the network itself, in which nothing is ablated."""
    ablated = as_ablated(tower)
    return tower if ablated is None else ablated.whole


def check_parity_of(tower: Any, parity: str | None) -> None:
    """Raises `SummandError` where an ablated tower is to deal out constants as the papers' code does."""
    if parity is not None and as_ablated(tower) is not None:
        tower.evenly()
