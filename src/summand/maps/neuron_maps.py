"""Where neurons are active, and segmentation by the neurons of a class (paper A, section 5.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..effects.second_order import latent_directions
from ..errors import SummandError
from ..models import Model
from ..statistics.principal_direction import RankOne
from ..towers.base import working
from ..towers.linear import inverse_deviation
from ..towers.listening import _Enough, listening
from ..whole_numbers import whole_number
from .neuron_directions import check_layers, readable

Weighting = Literal["mean", "signed", "weighted"]


@torch.no_grad()
def activations(
    model: Model, pixels: Float[Tensor, "image 3 height width"], layers: Collection[int]
) -> dict[int, Float[Tensor, "image patch neuron"]]:
    """p_i^{l,n}: the activations of the MLP neurons of some layers, behind the non-linearity, over the patch tokens.

    The forward pass ends behind the last layer asked for. Raises `SummandError` for a tower without such neurons.
    """
    tower = readable(model)
    check_layers(model, layers)
    layers = [int(layer) for layer in layers]
    model.check_pixels(pixels)
    for layer in set(layers):
        tower.verify(("neurons", layer), pixels)
    found: dict[int, Tensor] = {}

    def listeners() -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        def keep(layer: int, hidden: Tensor) -> None:
            found[layer] = working(tower.batch_first(hidden))[:, tower.prefix :]
            if len(found) == len(set(layers)):
                raise _Enough

        for layer in set(layers):
            yield tower.blocks[layer].neuron_map(), "before", lambda hidden, _, layer=layer: keep(layer, hidden)

    with listening(listeners(), tower.visual):
        tower.visual(pixels)
    return found


class NeuronMaps:
    r"""map[patch] = mean over the N neurons of largest |⟨r_n, t⟩| of their activations p_patch^n (paper A, §5.2).

    r_n: the first principal direction of a neuron's second-order effect. weighting: "mean" counts every chosen neuron
    alike, as published; "signed" multiplies by the sign of ⟨r_n, t⟩, "weighted" by ⟨r_n, t⟩ itself, so that
    neurons which speak against the text count against it. layers share the N.

    directions: layer → r_n, [neuron, embed], or a `RankOne`. Raises `SummandError` for a tower without neurons, or
    directions of another model.
    """

    def __init__(
        self,
        model: Model,
        directions: Mapping[int, RankOne | Float[Tensor, "neuron embed"]],
        count: int = 200,
        weighting: Weighting = "weighted",
    ) -> None:
        if weighting not in ("mean", "signed", "weighted"):
            raise SummandError(f"weighting must be 'mean', 'signed' or 'weighted', got {weighting!r}")
        if count < 1:
            raise SummandError(f"count must be at least 1 neuron, got {count}")
        check_layers(model, list(directions))
        self.model, self.count, self.weighting = model, count, weighting
        self.layers = sorted(directions)
        rows = [directions[layer] for layer in self.layers]
        tensors = [row.directions if isinstance(row, RankOne) else row for row in rows]
        if any(row.shape[1] != model.tower.embed for row in tensors):
            raise SummandError(f"neuron directions must be [neuron, {model.tower.embed}] for this model")
        self.directions = torch.cat([row.to(model.device, torch.float32) for row in tensors])

    def weights(self, directions: Float[Tensor, "text embed"]) -> Float[Tensor, "text layer_neuron"]:
        """What each neuron of the layers counts for each text: zero but for N of them."""
        along = directions.to(self.directions) @ self.directions.T
        chosen = along.abs().topk(min(self.count, along.shape[1]), dim=1).indices
        taken = along.gather(1, chosen)
        if self.weighting == "mean":
            taken = torch.ones_like(taken)
        elif self.weighting == "signed":
            taken = taken.sign()
        return torch.zeros_like(along).scatter(1, chosen, taken / chosen.shape[1])

    def maps(
        self, pixels: Float[Tensor, "image 3 height width"], directions: Float[Tensor, "text embed"]
    ) -> Float[Tensor, "image text row column"]:
        """Maps of each text over each image."""
        found = activations(self.model, pixels, self.layers)
        hidden = torch.cat([found[layer] for layer in self.layers], dim=2)
        return (self.weights(directions) @ hidden.transpose(1, 2)).unflatten(2, self.model.tower.grid)


@torch.no_grad()
def second_order_maps(
    model: Model,
    pixels: Float[Tensor, "image 3 height width"],
    directions: Float[Tensor, "text embed"],
    layers: Collection[int] | None = None,
    neurons: Mapping[int, Sequence[int]] | None = None,
    without: Collection[tuple[int, int]] = (),
    latents: Mapping[int, Sequence[int]] | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map[i] = Σ_n Σ_{(l',h)} p_i^{l,n} a_i^{l',h} / (σ_i^{l'} σ) · ⟨P W_VO^{l',h} w^{l,n}, t⟩: the second-order
    effects of all neurons (paper A, Eq. 5) before they are summed over tokens. Over all tokens it sums to Σ_n ⟨φ_n, t⟩.

    No reference images are needed, for the directions come from the weights. layers: by default all but the last.
    neurons: layer → only these neurons of it, in the place of layers; latents: the same of the latents of the model's
    autoencoders. without: later heads (layer, head) that are left out. Raises `SummandError` as `model.second_order`
    does.
    """
    tower, some = readable(model), neurons if latents is None else latents
    autoencoders = {int(layer): model.autoencoder(layer) for layer in latents or ()}
    layers = sorted(some or set(range(tower.layers - 1) if layers is None else layers))
    check_layers(model, layers)
    layers = [int(layer) for layer in layers]
    if not tower.plain or layers[-1] == tower.layers - 1:
        model.second_order(pixels, layers[-1])  # says why not
    model.check_pixels(pixels)
    hidden: dict[int, Tensor] = {}
    deviations: dict[int, Tensor] = {}
    rows: dict[int, Tensor] = {}

    def listeners() -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        def fire(layer: int, found: Tensor) -> None:
            hidden[layer] = working(tower.batch_first(found))[:, tower.prefix :]

        def enter(at: int, stream: Tensor) -> None:
            stream = working(tower.batch_first(stream))
            deviations[at] = inverse_deviation(tower.blocks[at].before, stream)
            if at - 1 in autoencoders:
                hidden[at - 1] = autoencoders[at - 1].encode(stream)[:, tower.prefix :]

        for layer in () if latents is not None else layers:
            yield tower.blocks[layer].neuron_map(), "before", lambda found, _, layer=layer: fire(layer, found)
        for at in range(layers[0] + 1, tower.layers):
            yield tower.reader(at), "before", lambda stream, _, at=at: enter(at, stream)

    for layer in () if latents is not None else layers:
        tower.verify(("neurons", layer), pixels)
    tower.verify(("norms", min(layers)), pixels)
    with listening(listeners(), tower.visual, within=True):
        trace = tower.run(pixels, lambda at, view: rows.__setitem__(at, view.row))
    total: Tensor | None = None
    for layer in layers:
        later = range(layer + 1, tower.layers)
        reads = torch.cat([rows[at] * deviations[at][:, None] for at in later], dim=1)[:, :, tower.prefix :]
        known = autoencoders.get(layer)
        basis = tower.neuron_directions(layer) if known is None else latent_directions(tower, known)
        active = hidden[layer]
        if some is not None:
            own = [int(unit) for unit in some[layer]]
            basis, active = basis.select(own), active[..., own]
        along = basis.toward(directions)  # [neuron, path, text]
        left = [(at, head) not in without for at in later for head in range(tower.heads)]
        along = along * torch.tensor(left).to(along)[:, None]
        written = active @ along.flatten(1)
        found = torch.einsum("ikpt,ipk->itk", written.unflatten(-1, along.shape[1:]), reads)
        total = found if total is None else total + found
    assert total is not None
    return (total * trace.scale[:, None, None]).unflatten(2, tower.grid)


def combined_maps(
    found: NeuronMaps, pixels: Float[Tensor, "image 3 height width"], directions: Float[Tensor, "text embed"]
) -> Float[Tensor, "image text row column"]:
    r"""map[i] = e_i^{2/3} p_i^{1/3}: the second-order effects e of all neurons on the text (`second_order_maps`), times
    how active the neurons of the text are, p (`NeuronMaps`); what speaks against the text in either counts as zero.

    Effects hold the later heads' attention, which peaks inside an object; activations cover it evenly. On scenes the
    two together cover what a text names better than either. Raises `SummandError` as `model.second_order` does.
    """
    effects = second_order_maps(found.model, pixels, directions).clamp(min=0)
    return effects ** (2 / 3) * found.maps(pixels, directions).clamp(min=0) ** (1 / 3)


def neuron_map(
    model: Model, pixels: Float[Tensor, "image 3 height width"], layer: int, neuron: int
) -> Float[Tensor, "image row column"]:
    """p_patch^{l,n}: where one neuron is active. For a tower with an attention pool the neurons are the pool's inputs,
    without positions, and the layer is 0."""
    from ..towers.pool import PoolTower
    from .pair_maps import pool_inputs

    if isinstance(model.tower, PoolTower):
        if layer != 0:
            raise SummandError(
                f"{model.name} ends in an attention pool, whose neurons are 0:0 and on; got layer {layer}"
            )
        found = pool_inputs(model, pixels)[1]
    else:
        check_layers(model, [layer])
        found = activations(model, pixels, [layer])[int(layer)]
    if whole_number(neuron) not in range(found.shape[2]):
        raise SummandError(f"layer {layer} of {model.name} has neurons 0 to {found.shape[2] - 1}, not {neuron}")
    return found[:, :, neuron].unflatten(1, model.tower.grid)


@torch.no_grad()
def latent_map(
    model: Model, pixels: Float[Tensor, "image 3 height width"], layer: int, latent: int
) -> Float[Tensor, "image row column"]:
    """f_k: where one latent of the layer's autoencoder is active."""
    check_latent(model, layer, latent)
    codes = model.reconstruction(pixels, layer).codes[:, model.tower.prefix :]
    return codes[:, :, latent].unflatten(1, model.tower.grid)


def check_latent(model: Model, layer: int, latent: int) -> None:
    """Raises `SummandError` for one that the model's autoencoders do not have."""
    count = model.autoencoder(layer).latents
    if latent not in range(count):
        raise SummandError(f"{model.name} has latents {layer}#0 to {layer}#{count - 1}; got {layer}#{latent}")
