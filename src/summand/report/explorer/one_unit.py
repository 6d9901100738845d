"""One unit by itself: whether there is such a one, what it adds to the score of a picture, and from which patches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.pairs import with_pairs
from ...effects.second_order import with_neurons
from ...errors import SummandError
from ...maps.neuron_maps import activations, second_order_maps
from ...models import Model
from ...survey.units import effects_of
from ...towers import AttentionView
from ...towers.pool import PoolTower
from ...unit import Unit
from .known import Known
from .question import Along, Reading


def check_unit(model: Model, unit: Unit) -> None:
    """Raises `SummandError` for a unit that the model does not have."""
    tower, kind, number = model.tower, unit.kind, unit.index[-1]
    if kind == "head":
        if not (unit.index[0] < tower.layers and number < tower.heads):
            raise SummandError(f"there is no head {unit}; heads are 0.0 to {tower.layers - 1}.{tower.heads - 1}")
        return
    if kind == "pair":
        neurons, heads = with_pairs(tower).pair_directions().shape[:2]
        if not (unit.index[0] < neurons and number < heads):
            raise SummandError(f"there is no pair {unit}; pairs are 0x0 to {neurons - 1}x{heads - 1}")
        return
    layer = unit.group.layer or 0
    if kind == "neuron":
        if isinstance(tower, PoolTower):
            raise SummandError(
                f"{unit}: a neuron in front of an attention pool is taken head by head; give pairs, as 62x3"
            )
        count = with_neurons(tower, [layer]).blocks[layer].neuron_output().shape[1]
    else:
        with_neurons(tower, [layer])
        count = model.autoencoder(layer).latents
    if number >= count:
        first, last = (str(Unit(unit.group, (place,))) for place in (0, count - 1))
        raise SummandError(f"there is no {kind} {unit}; layer {layer} has {first} to {last}")


@torch.no_grad()
def added(known: Known, reading: Reading, along: Along, unit: Unit) -> float:
    """scale · ⟨φ − b, d⟩ / ‖M‖ of one unit: what it adds to the score over its mean b (0 where no survey knows it)."""
    effects = effects_of([unit.group], reading.model, reading.pixels)[0][unit.group]
    means = known.means(unit.group)
    centred = effects.with_coefficients(
        effects.coefficients - (0 if means is None else means.to(effects.coefficients))
    ).select([unit.index[0]])
    value = centred.toward(reading.direction(along)[None].to(effects.device))[..., 0]
    return _scale(reading) * float(value[(0, 0, *unit.index[1:])])


@torch.no_grad()
def unit_map(reading: Reading, along: Along, unit: Unit) -> Float[Tensor, "row column"]:
    """What a neuron, latent or pair adds to the score from each patch."""
    direction, layer = reading.direction(along), unit.group.layer
    if layer is None:
        found = pair_sum(reading, direction, [(unit.index[0], unit.index[1])])
    else:
        chosen, neuron = {layer: [unit.index[0]]}, unit.kind == "neuron"
        found = second_order_map(reading, direction, chosen if neuron else None, None if neuron else chosen)
    return _scale(reading) * found


@torch.no_grad()
def active_map(reading: Reading, unit: Unit) -> Float[Tensor, "row column"]:
    """Where a neuron, a latent, or the neuron of a pair is active."""
    model, number, layer = reading.model, unit.index[0], unit.group.layer
    tower = model.tower
    if layer is None:
        found = _view(reading)[0].inputs[:, tower.prefix :]
    elif unit.kind == "latent":
        found = model.reconstruction(reading.pixels, layer).codes[:, tower.prefix :]
    else:
        found = activations(model, reading.pixels, [layer])[layer]
    return found[0, :, number].unflatten(0, tower.grid).float().cpu()


def second_order_map(
    reading: Reading,
    direction: Float[Tensor, " embed"],
    neurons: Mapping[int, Sequence[int]] | None = None,
    latents: Mapping[int, Sequence[int]] | None = None,
    without: Collection[tuple[int, int]] = (),
) -> Float[Tensor, "row column"]:
    """`second_order_maps` of one picture along one direction."""
    along = direction[None].to(reading.model.device)
    found = second_order_maps(reading.model, reading.pixels, along, neurons=neurons, without=without, latents=latents)
    return found[0, 0].float().cpu()


def pair_sum(
    reading: Reading, direction: Float[Tensor, " embed"], pairs: Sequence[tuple[int, int]]
) -> Float[Tensor, "row column"]:
    r"""Σ_{(n,h)} a_patch^h z_patch^n ⟨row n of W_VO^h F, d⟩: pairs (paper B) before they are summed over patches."""
    tower = reading.model.tower
    view, scale = _view(reading)
    along = with_pairs(tower).pair_directions().toward(direction[None].to(view.row))[:, :, 0, 0]  # [neuron, head]
    rows, inputs = view.row[0, :, tower.prefix :], view.inputs[0, tower.prefix :]
    found = torch.zeros(len(inputs)).to(rows)
    for neuron, head in pairs:
        found += rows[head] * inputs[:, neuron] * along[neuron, head]
    return (scale * found).unflatten(0, tower.grid).float().cpu()


def _view(reading: Reading) -> tuple[AttentionView, Tensor]:
    """What the pool reads of the picture, and what its output is scaled by."""
    seen: list[AttentionView] = []
    trace = reading.model.tower.run(reading.pixels, lambda _, view: seen.append(view))
    return seen[0], trace.scale[0]


def _scale(reading: Reading) -> float:
    return reading.scale / max(float(reading.terms.output.norm()), 1e-12)
