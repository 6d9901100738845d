"""First-order effects: what an MLP neuron itself writes to the pooled token (paper A's first baseline)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..towers import Tower
from ..towers.base import Trace, working
from ..towers.listening import listening
from ..towers.precision import unmixed
from ..towers.residual import ResidualTower
from .activations import check_layer, readable
from .effects import Effects


@torch.no_grad()
def first_order(tower: Tower, pixels: Float[Tensor, "image channel height width"], layer: int) -> Effects:
    r"""P e_0^{l,n} = (Σ_q w_q p_q^{l,n} / σ) · w^{l,n} F, paper A, Section 3.2: the neuron's share of the MLP's term.

    p: the neuron's activation behind the non-linearity; w^{l,n}: its column of the MLP's output map; q: the class token
    (w = 1), or the pooled patches; σ of the final norm is held at its value in the real pass, and F is that norm and
    the projection as one map.

    Units (neuron,), one path. All neurons of a layer and its output bias sum to `decompose(x).mlps()[:, layer]`.
    Raises `SummandError` for a layer that does not exist and for a tower that is no plain pre-norm transformer.
    """
    tower = readable(tower, "first-order effects are")
    layer = check_layer(tower, layer)
    tower.verify(("neurons", layer), pixels)
    hidden: list[Tensor] = []

    def neurons(activations: Tensor, _: Any) -> None:
        hidden[:] = [working(tower.batch_first(activations))]

    def listeners() -> Iterator[Any]:
        yield tower.blocks[layer].neuron_map(), "before", neurons

    with listening(listeners(), tower.visual, within=True):
        trace = tower.run(pixels)
    with unmixed(pixels.device):
        return _effects(tower, layer, trace, hidden)


def _effects(tower: ResidualTower, layer: int, trace: Trace, hidden: list[Tensor]) -> Effects:
    assert trace.pooling is not None
    pooled = hidden[0][:, tower.pooled_from : tower.pooled_from + trace.pooling.shape[1]]
    active = torch.einsum("iq,iqn->in", trace.pooling, pooled) * trace.scale[:, None]
    return Effects(active[..., None], tower.write_directions(layer), units=("neuron",), paths=("activation",))
