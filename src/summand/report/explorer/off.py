"""Units switched off: what the model would have said had they always written their mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...models import Model
from ...models.ablations import Ablation, NeuronAblation
from ...survey import Group
from ...unit import units_of
from .known import Known
from .one_unit import check_unit, pair_sum, second_order_map
from .question import Along, Reading, Terms, terms_of


@dataclass(frozen=True)
class Off:
    """Units that are switched off: heads (layer, head), neurons (layer, neuron), latents (layer, latent), and pairs
    (neuron, head)."""

    heads: tuple[tuple[int, int], ...] = ()
    neurons: tuple[tuple[int, int], ...] = ()
    latents: tuple[tuple[int, int], ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.heads or self.neurons or self.latents or self.pairs)

    @property
    def names(self) -> list[str]:
        marks = ((".", self.heads), (":", self.neurons), ("#", self.latents), ("x", self.pairs))
        return [f"{first}{mark}{second}" for mark, some in marks for first, second in some]

    @property
    def by_layer(self) -> dict[int, list[int]]:
        """layer → its neurons."""
        return by_first(self.neurons)

    @property
    def groups(self) -> list[Group]:
        """The groups of the units, whose means must be known."""
        layered = [Group("neurons", layer) for layer in self.by_layer]
        layered += [Group("latents", layer) for layer in by_first(self.latents)]
        return [Group("heads")] * bool(self.heads) + layered + [Group("pairs")] * bool(self.pairs)


def by_first(some: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """first → its seconds."""
    found: dict[int, list[int]] = {}
    for first, second in some:
        found.setdefault(first, []).append(second)
    return found


def switched_off(known: Known, units: Iterable[str] = (), properties: Iterable[str] = ()) -> Off:
    """Units by name, as 5.3, 4:120, 4#7 or 62x3, and all heads that are labelled with a property.

    Raises `SummandError` for units that the model does not have, and for an unknown property.
    """
    found: dict[str, list[tuple[int, int]]] = {"heads": [], "neurons": [], "latents": [], "pairs": []}
    for unit in units_of(list(units)):
        check_unit(known.model, unit)
        first, second = unit.index if unit.group.layer is None else (unit.group.layer, *unit.index)
        found[unit.group.kind].append((first, second))
    for name in properties:
        if name not in known.properties:
            raise SummandError(f"no head is labelled {name!r}; there are {', '.join(known.properties) or 'none'}")
        found["heads"] += known.properties[name]
    return Off(**{kind: tuple(sorted(set(some))) for kind, some in found.items()})


def without(known: Known, off: Off) -> Model:
    r"""M′ = M − Σ_{heads} (φ − φ̄) − Σ_{neurons} (φ − φ̄): heads and neurons at their mean over the survey, or,
    where that is not known, at nothing (φ̄ = 0)."""
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
    return all(known.means(group) is not None for group in off.groups)


def terms_without(known: Known, reading: Reading, off: Off) -> Terms:
    r"""The terms of the same picture with these units off. Latents and pairs are parts of heads, as neurons are: what
    they write beside their mean is taken out of every head that still carries it."""
    terms = terms_of(without(known, off), reading.pixels) if off.heads or off.neurons else reading.terms
    return replace(terms, heads=terms.heads - written(known, reading, off)) if off.latents or off.pairs else terms


@torch.no_grad()
def written(known: Known, reading: Reading, off: Off) -> Float[Tensor, "layer head embed"]:
    r"""Σ (φ − φ̄) of the latents and pairs that are off, by the head that they go through; nothing through a head
    that is off itself, which always writes its mean."""
    model = reading.model
    found = torch.zeros_like(reading.terms.heads)
    for layer, latents in by_first(off.latents).items():
        effects, means = model.latents(reading.pixels, layer).select(latents), known.means(Group("latents", layer))
        away = effects.coefficients[0].cpu() - (0 if means is None else means[latents].to(effects.coefficients).cpu())
        each = away[..., None] * effects.directions.cpu()  # [latent, path, embed]
        for path, (at, head) in enumerate(effects.path_index or ()):
            if (at, head) not in off.heads:
                found[at, head] += each[:, path].sum(dim=0).to(found)
    if off.pairs:
        effects, means = model.pairs(reading.pixels), known.means(Group("pairs"))
        for neuron, head in off.pairs:
            own = effects.select([neuron])
            away = own.coefficients[0, 0, head].cpu() - (0 if means is None else means[neuron, head].to(found))
            if (0, head) not in off.heads:
                found[0, head] += (away @ own.directions[0, head].cpu()).to(found)
    return found


@torch.no_grad()
def map_without(reading: Reading, terms: Terms, along: Along, off: Off) -> Float[Tensor, "row column"]:
    r"""`token_map` without what the units that are off wrote: Σ over the other heads, less what the neurons, latents
    and pairs write through these. A mean comes from no patch.

    terms: with the units off, for the length ‖M′‖.
    """
    tower = reading.model.tower
    left = torch.ones(reading.tokens.shape[:2])
    for layer, head in off.heads:
        left[layer, head] = 0
    tokens = torch.einsum("lhtd,lh->td", reading.tokens, left) @ reading.weights(along)
    found = tokens[tower.prefix :].unflatten(0, tower.grid)
    direction = reading.direction(along)
    if off.neurons:
        found = found - second_order_map(reading, direction, neurons=off.by_layer, without=off.heads)
    if off.latents:
        found = found - second_order_map(reading, direction, latents=by_first(off.latents), without=off.heads)
    if off.pairs:
        found = found - pair_sum(reading, direction, [pair for pair in off.pairs if (0, pair[1]) not in off.heads])
    return reading.scale / max(float(terms.output.norm()), 1e-12) * found
