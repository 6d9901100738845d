"""The effects of groups of units, and which of them a tower has."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from ..effects.direct import Parts
from ..effects.effects import Effects
from ..effects.pairs import pairs_and_trace, with_pairs
from ..effects.second_order import second_orders, with_neurons
from ..models import Model
from ..towers.pool import PoolTower
from ..towers.residual import ResidualTower
from ..unit import KINDS, SINGULAR, Group, Kind, Unit, Wanted, parse_units

__all__ = [
    "KINDS",
    "SINGULAR",
    "Group",
    "Kind",
    "Unit",
    "Wanted",
    "default_units",
    "effects_of",
    "groups_of",
    "parse_units",
]

_SMALL = 8  # layers of a tower of which all neurons are taken unless others are asked for


def effects_of(
    groups: Sequence[Group], model: Model, pixels: Float[Tensor, "image 3 height width"]
) -> tuple[dict[Group, Effects], Parts]:
    """The effects of a batch of images for every group, and its decomposition, all from one forward pass."""
    with model.as_it_is():
        return _effects_of(groups, model, pixels)


def _effects_of(groups: Sequence[Group], model: Model, pixels: Tensor) -> tuple[dict[Group, Effects], Parts]:
    parts = model.decompose(pixels)
    found: dict[Group, Effects] = {}
    layers = [group.layer for group in groups if group.kind == "neurons" and group.layer is not None]
    latents = [
        model.autoencoder(group.layer) for group in groups if group.kind == "latents" and group.layer is not None
    ]
    if layers or latents:
        written, trace = second_orders(model.tower, pixels, layers, latents=latents)
        parts.share(trace)
        found |= {Group("neurons", layer): written[layer] for layer in layers}
        found |= {Group("latents", each.layer): written[each] for each in latents}
    if Group("pairs") in groups:
        found[Group("pairs")], trace = pairs_and_trace(model.tower, pixels)
        parts.share(trace)
    if Group("heads") in groups:
        found[Group("heads")] = parts.head_effects()
    return found, parts


def default_units(model: Model) -> tuple[Wanted, ...]:
    """Heads, and what else the tower has: neurons with later attention, or the pairs of an attention pool."""
    if isinstance(model.tower, PoolTower):
        return (Wanted("heads"), Wanted("pairs"))
    plain = isinstance(model.tower, ResidualTower) and model.tower.plain and model.tower.layers > 1
    return (Wanted("heads"), Wanted("neurons")) if plain else (Wanted("heads"),)


def groups_of(model: Model, wanted: Sequence[Wanted]) -> tuple[Group, ...]:
    """The groups that were asked for, checked against the model's tower before anything is computed.

    Neurons without a layer: of every layer with later attention; in a tower of more than 8 layers of the last three of
    them, where paper A finds the strongest effects. Raises `SummandError` for units that the tower does not have.
    """
    groups: list[Group] = []
    for want in wanted:
        if want.kind == "heads":
            groups.append(Group("heads"))
        elif want.kind == "latents":
            known = tuple(sorted(model.autoencoders))
            for layer in known if known and want.layers is None else want.layers or (None,):
                groups.append(Group("latents", model.autoencoder(layer).layer))
        elif want.kind == "pairs":
            with_pairs(model.tower)
            groups.append(Group("pairs"))
        else:
            last = with_neurons(model.tower).layers - 1
            own = range(0 if last < _SMALL else last - 3, last)
            for layer in own if want.layers is None else want.layers:
                with_neurons(model.tower, [layer])
                groups.append(Group("neurons", layer))
    return tuple(dict.fromkeys(groups))
