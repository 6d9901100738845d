"""Second-order effects: what an MLP neuron adds to the output through the attention heads behind it (paper A)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..towers import AttentionView, Tower, Trace
from ..towers.base import working
from ..towers.factored import Factored
from ..towers.linear import inverse_deviation
from ..towers.listening import listening
from ..towers.precision import unmixed
from ..towers.products import mixed_product
from ..towers.residual import ResidualTower
from .ablated import Needs, as_ablated, check_parity_of
from .activations import check_layer, readable
from .autoencoder import Autoencoder
from .effects import Effects
from .published import Parity, check_parity, even_coefficients, even_directions, path_terms


@torch.no_grad()
def second_order(
    tower: Tower, pixels: Float[Tensor, "image channel height width"], layer: int, parity: Parity = None
) -> Effects:
    r"""φ_n^l(x) = Σ_{l'>l} Σ_h Σ_i [p_i^{l,n} a_i^{l',h} / (σ_i^{l'} σ)] · [P W_VO^{l',h} w^{l,n}], paper A, Eq. 5.

    p: the neuron's activation behind the non-linearity; w: its column of the MLP's output map; a: the attention row of
    the pooled token; σ_i^{l'}, σ: the deviations of ln_1 of layer l' at token i and of the final norm, all three held
    at their values in the real pass. ln_1 and the final norm are folded into the direction, each term centred by its
    own mean. The flow through later MLPs is left out, as in the paper; the biases belong to no neuron.

    Units (neuron,), one path for each later head; `path_index` says (later layer, later head), counted from 0.
    The coefficients are one matrix product for all later heads; the directions are factored.

    parity="paper": as paper A's code counts (App. A.6, Eq. 11). No term is centred by its own mean; instead every
    neuron gets an equal share of the MLP's output bias (1/N), of ln_1's μ and β and the value and output biases
    (1/((1 + 2l') N)), and of the final norm's μ and β (1/((1 + 2l') (1 + 2L) N) of each later layer l'); everything
    × 100 / ‖M(x)‖. The shares are further paths, the same for all neurons: `path_index` then has a third number, of
    `even_split`. Mean-ablation and principal directions hardly depend on them.

    Raises `SummandError` for a layer that has no later attention, for a tower that is no plain pre-norm transformer,
    and with parity="paper" for one without a class token or a final LayerNorm.
    """
    (found,) = second_orders(tower, pixels, [layer], parity)[0].values()
    return found


@torch.no_grad()
def second_orders(
    tower: Tower,
    pixels: Float[Tensor, "image channel height width"],
    layers: Sequence[int],
    parity: Parity = None,
    neurons: Sequence[int] | None = None,
    latents: Sequence[Autoencoder] = (),
) -> tuple[dict[Any, Effects], Trace]:
    """`second_order` of several layers, by layer, and the trace of the one pass that they share.

    neurons: only these of each layer (not with parity, where every neuron has its share of the constants). latents: the
    same of what autoencoders find in the stream, by autoencoder: with the activation of a latent for p and its row of
    the decoder for w, Eq. 5 is what it adds through the later heads.
    """
    check_parity(parity)
    assert parity is None or (neurons is None and not latents)
    tower = with_neurons(tower, [*layers, *(each.layer for each in latents)])
    layers = [check_layer(tower, layer) for layer in layers]
    ablated = as_ablated(tower)
    if ablated is not None:
        check_parity_of(tower, parity)
        some = None if neurons is None else tuple(neurons)
        inside, trace = ablated.read(pixels, Needs(tuple(layers), some, tuple(latents)))
        return {layer: ablated.held(found, layer, neurons) for layer, found in inside.items()}, trace
    tower = tower if parity is None else tower.evenly()
    for layer in layers:
        tower.verify(("neurons", layer), pixels)
    lowest = min([*layers, *(each.layer for each in latents)])
    tower.verify(("norms", lowest), pixels)
    first = lowest + 1
    later = range(first, tower.layers)
    hidden: dict[Any, Tensor] = {}
    deviations: dict[int, Tensor] = {}
    means: dict[int, Tensor] = {}
    rows: dict[int, Tensor] = {}

    def fire(layer: int, activations: Tensor) -> None:
        seen = tower.batch_first(activations)
        hidden[layer] = seen if neurons is None else seen[..., list(neurons)]

    def enter(at: int, stream: Tensor) -> None:
        stream = tower.batch_first(stream)
        deviations[at] = inverse_deviation(tower.blocks[at].before, stream)
        hidden.update({each: each.encode(working(stream)) for each in latents if each.layer == at - 1})
        if parity is not None:
            means[at] = working(stream).mean(dim=-1)

    def listeners() -> Iterator[Any]:
        for layer in layers:
            yield tower.blocks[layer].neuron_map(), "before", lambda found, _, layer=layer: fire(layer, found)
        for at in later:
            yield tower.reader(at), "before", lambda stream, _, at=at: enter(at, stream)

    def visit(at: int, view: AttentionView) -> None:
        if at in later:
            rows[at] = view.row

    with listening(listeners(), tower.visual, within=True):
        trace = tower.run(pixels, visit)
    found: dict[Any, Effects] = {}
    with unmixed(pixels.device):
        reads = torch.cat([rows[at] * deviations[at][:, None] for at in later], dim=1)  # [image, path, token]
        for layer in layers:
            behind, own = range(layer + 1, tower.layers), reads[:, (layer + 1 - first) * tower.heads :]
            if parity is not None:
                assert trace.shares is not None
                of_paths = torch.cat([means[at][:, None].expand(-1, tower.heads, -1) for at in behind], dim=1)
                norms = trace.total(tower.head_maps()).norm(dim=-1)
                found[layer] = Effects(
                    even_coefficients(
                        mixed_product(own, hidden[layer]), own, of_paths, trace.shares.coefficients, norms, behind
                    ),
                    even_directions(tower, layer, trace.shares.directions),
                    units=("neuron",),
                    paths=("later layer", "later head", "term"),
                    path_index=path_terms(behind, tower.heads),
                )
            else:
                directions = tower.neuron_directions(layer)
                found[layer] = Effects(
                    mixed_product(own * trace.scale[:, None, None], hidden[layer]).transpose(1, 2),
                    directions if neurons is None else directions.select(list(neurons)),
                    units=("neuron",),
                    paths=("later layer", "later head"),
                    path_index=tuple((at, head) for at in behind for head in range(tower.heads)),
                )
        for each in latents:
            behind, own = range(each.layer + 1, tower.layers), reads[:, (each.layer + 1 - first) * tower.heads :]
            found[each] = Effects(
                ((own * trace.scale[:, None, None]) @ hidden[each]).transpose(1, 2),
                latent_directions(tower, each),
                units=("latent",),
                paths=("later layer", "later head"),
                path_index=tuple((at, head) for at in behind for head in range(tower.heads)),
            )
    return found, trace


def latent_directions(tower: ResidualTower, latents: Autoencoder) -> Factored:
    """P W_VO^{l',h} d_k for every latent k and later head. Raises `SummandError` for a stream of another width."""
    check_width(tower, latents)
    like = tower.blocks[0].attention.out.weight
    return tower.later_directions(latents.layer, lambda: working(latents.decoder.to(like)), latents)


def check_width(tower: ResidualTower, latents: Autoencoder) -> None:
    """Raises `SummandError` for an autoencoder of another width than the tower's stream."""
    width = len(tower.blocks[0].attention.out.weight)
    if latents.width != width:
        raise SummandError(
            f"the autoencoder ({latents.source}) is of a stream of {latents.width} numbers, this model's has {width}: "
            f"it was trained on another model"
        )


def with_neurons(tower: Tower, layers: Sequence[int] = ()) -> ResidualTower:
    """The tower, if it has second-order effects (of these layers). Raises `SummandError` that says which layers do."""
    plain = readable(tower, "second-order effects are")
    for layer in layers:
        check_layer(plain, layer, later=True)
    return plain
