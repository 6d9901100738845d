"""Second-order effects: what an MLP neuron adds to the output through the attention heads behind it (paper A)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .effects import Effects
from .errors import SummandError
from .towers import AttentionView, Tower
from .towers.base import listening, unmixed, working
from .towers.linear import inverse_deviation
from .towers.residual import ResidualTower


@torch.no_grad()
def second_order(tower: Tower, pixels: Float[Tensor, "image channel height width"], layer: int) -> Effects:
    r"""φ_n^l(x) = Σ_{l'>l} Σ_h Σ_i [p_i^{l,n} a_i^{l',h} / (σ_i^{l'} σ)] · [P W_VO^{l',h} w^{l,n}], paper A, Eq. 5.

    p: the neuron's activation behind the non-linearity; w: its column of the MLP's output map; a: the attention row of
    the pooled token; σ_i^{l'}, σ: the deviations of ln_1 of layer l' at token i and of the final norm, all three held
    at their values in the real pass. ln_1 and the final norm are folded into the direction, each term centred by its
    own mean. The flow through later MLPs is left out, as in the paper; the biases belong to no neuron.

    Units (neuron,), one path for each later head; `path_index` says (later layer, later head), counted from 0.
    The coefficients are one matrix product for all later heads; the directions are factored. Raises `SummandError`
    for a layer that has no later attention, and for a tower that is no plain pre-norm transformer.
    """
    tower = _readable(tower)
    _check_layer(tower, layer)
    later = range(layer + 1, tower.layers)
    hidden: list[Tensor] = []
    deviations: dict[int, Tensor] = {}
    rows: dict[int, Tensor] = {}

    def neurons(activations: Tensor, _: Any) -> None:
        hidden[:] = [working(tower.batch_first(activations))]

    def deviation(at: int, stream: Tensor) -> None:
        deviations[at] = inverse_deviation(tower.blocks[at].before, working(tower.batch_first(stream)))

    def listeners() -> Iterator[Any]:
        yield tower.blocks[layer].neuron_map(), "before", neurons
        for at in later:
            yield tower.blocks[at].module, "before", lambda stream, _, at=at: deviation(at, stream)

    def visit(at: int, view: AttentionView) -> None:
        if at > layer:
            rows[at] = view.row

    with listening(listeners()):
        trace = tower.run(pixels, visit)
    with unmixed(pixels.device):
        return _factors(tower, layer, rows, deviations, hidden[0], trace.scale)


def _factors(
    tower: ResidualTower, layer: int, rows: dict[int, Tensor], deviations: dict[int, Tensor], p: Tensor, scale: Tensor
) -> Effects:
    later = range(layer + 1, tower.layers)
    reads = torch.cat([rows[at] * deviations[at][:, None] for at in later], dim=1)  # [image, path, token]
    return Effects(
        ((reads * scale[:, None, None]) @ p).transpose(1, 2),
        tower.neuron_directions(layer),
        units=("neuron",),
        paths=("later layer", "later head"),
        path_index=tuple((at, head) for at in later for head in range(tower.heads)),
    )


def _readable(tower: Tower) -> ResidualTower:
    if not isinstance(tower, ResidualTower):
        raise SummandError(
            f"second-order effects are of the neurons of a transformer whose stream is the output; this one is a "
            f"{tower.kind}. model.pairs(x) describes the neurons in front of an attention pool"
        )
    if not tower.plain:
        raise SummandError(
            f"second-order effects are defined for plain pre-norm blocks (paper A); this {tower.kind} has norms behind "
            f"or inside its attention"
        )
    return tower


def _check_layer(tower: ResidualTower, layer: int) -> None:
    last = tower.layers - 1
    valid = f"layers 0 to {last - 1} have" if last > 1 else "layer 0 has" if last else "no layer of it has"
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= last:
        raise SummandError(f"this model has no layer {layer!r}; {valid} a second-order effect")
    if layer == last:
        raise SummandError(f"no attention comes after layer {layer}, so it has no second-order effect; {valid} one")
