"""The neurons of a transformer's MLPs: which towers have them, and how active they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..towers import Tower
from ..towers.base import working
from ..towers.finite import all_finite
from ..towers.listening import _Enough, listening
from ..towers.precision import doubled
from ..towers.residual import ResidualTower
from ..whole_numbers import whole_number
from .ablated import network_of


def readable(tower: Tower, what: str) -> ResidualTower:
    """The tower, if its neurons can be followed: plain pre-norm blocks on one stream. what: the error's subject."""
    if not isinstance(tower, ResidualTower):
        raise SummandError(
            f"{what} of the neurons of a transformer whose stream is the output; this one is a "
            f"{tower.kind}. model.pairs(x) describes the neurons in front of an attention pool"
        )
    if not tower.plain:
        raise SummandError(
            f"{what} defined for plain pre-norm blocks (paper A); this {tower.kind} has norms behind or inside its "
            f"attention"
        )
    return tower


def check_layer(tower: ResidualTower, layer: int, later: bool = False) -> int:
    """The layer as an int. Raises `SummandError` for one that does not exist, and with later=True for one without later
    attention."""
    last = tower.layers - 1
    end = last - 1 if later else last
    valid = f"layers 0 to {end} have" if end > 0 else "layer 0 has" if end == 0 else "no layer of it has"
    what = "a second-order effect" if later else "neurons"
    number = whole_number(layer)
    if number is None or not 0 <= number <= last:
        raise SummandError(f"this model has no layer {layer!r}; {valid} {what}")
    if number > end:
        raise SummandError(f"no attention comes after layer {number}, so it has no second-order effect; {valid} one")
    return number


@torch.no_grad()
def activations(
    tower: Tower, pixels: Float[Tensor, "image channel height width"], layer: int
) -> Float[Tensor, "image token neuron"]:
    """p_i^{l,n}: how active every neuron of a layer is at every token, behind the non-linearity.

    The model's own forward pass, left as soon as they are known. Raises `SummandError` for a layer that does not
    exist and for a tower that is no plain pre-norm transformer.
    """
    network = network_of(readable(tower, "activations are"))
    layer = check_layer(network, layer)
    network.verify(("neurons", layer), pixels)
    seen: list[Tensor] = []

    def neurons(hidden: Tensor, _: Any) -> None:
        seen.append(working(network.batch_first(hidden)))
        raise _Enough

    with listening([(network.blocks[layer].neuron_map(), "before", neurons)], network.visual):
        network.encode(pixels)
    return seen[0]


def mean_activations(batches: Iterable[Float[Tensor, "image token neuron"]]) -> Float[Tensor, "token neuron"]:
    """Σ_images p / n, for every token by itself: what mean-ablation puts in a neuron's place (paper A).

    batches: of `activations`; one is held at a time and summed in fp64. Raises `SummandError` for no images at all and
    for NaN or infinite numbers.
    """
    total: Tensor | None = None
    count = 0
    for batch in batches:
        if not all_finite(batch):
            raise SummandError("the activations hold NaN or infinite numbers; check the images")
        total = doubled(batch).sum(dim=0) if total is None else total + doubled(batch).sum(dim=0)
        count += len(batch)
    if total is None or count == 0:
        raise SummandError("mean activations need at least one image, got none")
    return total / count
