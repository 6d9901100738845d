"""Neuron–head pairs of towers that end in an attention pool (paper B): one number times one fixed direction each."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..towers import AttentionView, Tower, Trace
from ..towers.pool import PoolTower
from ..towers.precision import unmixed
from .ablated import Needs, as_ablated, check_parity_of
from .effects import Effects
from .published import Parity, check_parity, even_pair_directions


@torch.no_grad()
def pairs(
    tower: Tower,
    pixels: Float[Tensor, "image channel height width"],
    positions: bool = True,
    parity: Parity = None,
) -> Effects:
    r"""r^{n,h}(x) = (Σ_i a_i^h z_i^n) · (row n of W_VO^h F), paper B: M(x) = Σ_n Σ_h r^{n,h}(x) + rest.

    z: what the pool's keys and values read, with its positional embedding; a: the attention row of the pool's query,
    held at its value in the real pass. Where a norm stands behind the pool (CoCa) its 1/σ belongs to the coefficient.
    A pair is exactly rank one: its direction comes from the weights alone, [neuron, head, 1, channel] times one shared
    [head, 1, channel, embed].

    positions=False leaves the positional embedding out of z, and puts what it adds into `rest`. rest: [image, embed],
    the value and output biases, and the MLP of SigLIP's pool.

    parity="paper": as paper B's code counts. Of N neurons and H heads a pair also gets b_V^h W_O^h / N + b_O / (N H),
    a second path with coefficient one; `rest` is then zero, and all pairs sum to `encode_image`. (That code neither
    divides by ‖M(x)‖ nor scales.) Its z has the positional embedding.

    Raises `SummandError` for a tower without a pool, and with parity="paper" for any but a ModifiedResNet or without
    positions.
    """
    return pairs_and_trace(tower, pixels, positions, parity)[0]


@torch.no_grad()
def pairs_and_trace(
    tower: Tower,
    pixels: Float[Tensor, "image channel height width"],
    positions: bool = True,
    parity: Parity = None,
) -> tuple[Effects, Trace]:
    """`pairs`, and the trace of the pass that they come from."""
    check_parity(parity)
    tower = with_pairs(tower)
    ablated = as_ablated(tower)
    if ablated is not None:
        check_parity_of(tower, parity)
        if not positions:  # an ablation of pairs reads them with positions, in a pass of its own
            return ablated.held_pairs(
                pairs_and_trace(ablated.inside, pixels, False)[0], trace := tower.run(pixels)
            ), trace
        inside, trace = ablated.read(pixels, Needs(pairs=True))
        return ablated.held_pairs(inside[None], trace), trace
    if parity is not None and (tower.kind != "ModifiedResNet" or not positions):
        what = f"this one is a {tower.kind}" if positions else "its code leaves no positions out"
        raise SummandError(f"parity='paper' is defined for pairs of a ModifiedResNet (paper B); {what}")
    tower.verify(("pairs",), pixels)
    added = None if positions else tower.positions()
    seen: list[AttentionView] = []
    trace = tower.run(pixels, lambda _, view: seen.append(view))
    with unmixed(pixels.device):
        found = _even_factors(tower, trace, seen[0]) if parity else _factors(tower, trace, seen[0], added)
    return found, trace


def with_pairs(tower: Tower) -> PoolTower:
    """The tower, if it has neuron–head pairs. Raises `SummandError` where it does not end in an attention pool."""
    if not isinstance(tower, PoolTower):
        raise SummandError(
            f"neuron–head pairs are of towers that end in an attention pool (ModifiedResNet, SigLIP); this one is a "
            f"{tower.kind}. model.second_order(x, layer) describes the neurons of a class-token transformer"
        )
    return tower


def _factors(tower: PoolTower, trace: Trace, view: AttentionView, added: Tensor | None) -> Effects:
    scale = trace.scale[:, None, None]
    values = view.row.sum(dim=-1)[..., None] * view.value_bias  # [image, head, channel]
    read = view.row @ view.inputs  # [image, head, neuron]
    if added is not None:
        placed = view.row @ added
        read = read - placed
        values = values + torch.einsum("ihn,hcn->ihc", placed, view.value_weight)
    rest = torch.einsum("ihc,hce->ie", values * scale, tower.head_maps().kept[0])
    return Effects(
        (read * scale).transpose(1, 2)[..., None],
        tower.pair_directions(),
        units=("neuron", "head"),
        paths=("value",),
        rest=rest + trace.bias + trace.embedding + trace.mlps.sum(dim=1),
    )


def _even_factors(tower: PoolTower, trace: Trace, view: AttentionView) -> Effects:
    own = (view.row @ view.inputs).transpose(1, 2)[..., None]  # [image, neuron, head, 1]
    return Effects(
        torch.cat([own, torch.ones_like(own)], dim=-1),
        even_pair_directions(tower, view.value_bias, trace.bias[0]),
        units=("neuron", "head"),
        paths=("value or bias",),
        rest=torch.zeros_like(trace.bias),
    )
