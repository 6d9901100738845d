"""What a model is asked about the latents of sparse autoencoders of its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..effects.activations import network_of, readable
from ..effects.autoencoder import Autoencoder, Reconstruction
from ..effects.effects import Effects
from ..effects.second_order import check_width, second_orders, with_neurons
from ..errors import SummandError
from ..towers.listening import _Enough, listening


@names_wrong_arguments
class LatentVerbs:
    """The questions to the autoencoders of a `Model`."""

    name: str
    autoencoders: Mapping[int, Autoencoder]
    tower: Any
    _asked: Callable[..., Any]
    _with: Callable[..., Any]

    def with_autoencoder(self, sae: Autoencoder | str | Path, layer: int | None = None) -> Self:
        """The same model with a sparse autoencoder, whose latents are then units as neurons are: `latents:LAYER`, one
        of them 9#1234.

        sae: a folder or a file in the layout of SAELens and Prisma, saev or overcomplete, or what
        `summand.train_autoencoder` made. layer: the one whose stream it reads, where the file does not say it. Raises
        `SummandError` for one of another width, layer or hook point.
        """
        from .autoencoders import read_autoencoder

        found = sae if isinstance(sae, Autoencoder) else read_autoencoder(sae, layer)
        if layer is not None and found.layer != layer:
            raise SummandError(
                f"{found.source} reads the stream that leaves layer {found.layer}, not layer {layer}; leave out layer"
            )
        try:
            tower = with_neurons(self.tower)
        except SummandError as error:
            raise SummandError(f"{self.name} has no stream for the autoencoder {found.source}: {error}") from error
        check_width(tower, found)
        try:
            with_neurons(tower, [found.layer])
        except SummandError as error:
            raise SummandError(f"{found.source} reads the stream that leaves layer {found.layer}: {error}") from error
        return self._with(autoencoders={**self.autoencoders, found.layer: found}, origin=None)

    def autoencoder(self, layer: int | None = None) -> Autoencoder:
        """The one of a layer. Raises `SummandError` where there is none."""
        if layer is None and len(self.autoencoders) == 1:
            return next(iter(self.autoencoders.values()))
        if layer is None or layer not in self.autoencoders:
            known = ", ".join(map(str, sorted(self.autoencoders)))
            raise SummandError(
                f"latents are those of a sparse autoencoder, and {self.name} has none"
                + (f" of layer {layer}" if layer is not None else "")
                + (f" (but of {known})" if known else "")
                + "; give one with sae=FOLDER, or model.with_autoencoder(…)"
            )
        return self.autoencoders[layer]

    def latents(self, x: Float[Tensor, "image channel height width"], layer: int | None = None) -> Effects:
        """Second-order effects of the latents of a layer's autoencoder: units (latent,), a path for each later head.

        As `second_order`, with a latent's activation for the neuron's and its row of the decoder for what it writes.
        """
        found = self.autoencoder(layer)
        return self._asked(x, lambda tower: second_orders(tower, x, [], latents=[found])[0][found])

    @torch.no_grad()
    def reconstruction(
        self, x: Float[Tensor, "image channel height width"], layer: int | None = None
    ) -> Reconstruction:
        """The stream that leaves the layer, at every token, as latents, decoder bias and error: their sum, exactly."""
        found = self.autoencoder(layer)
        return self._asked(x, lambda tower: found.parts(stream_of(tower, x, found.layer)))


@torch.no_grad()
def stream_of(tower: Any, x: Tensor, layer: int) -> Float[Tensor, "image token width"]:
    """What leaves a block."""
    network: Any = network_of(readable(tower, "latents are"))
    seen: list[Tensor] = []

    def leave(stream: Tensor) -> None:
        seen.append(network.batch_first(stream).clone())
        raise _Enough

    with listening([(network.blocks[layer].module, "after", leave)], network.visual):
        network.encode(x)
    return seen[0]
