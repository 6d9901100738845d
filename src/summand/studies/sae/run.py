"""Sparse autoencoders of a model's stream, trained on images."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.second_order import with_neurons
from ...models import Model
from ...models.autoencoders.train import train
from ...models.latent_verbs import stream_of
from ...progress import Progress
from ...survey.batch import read
from ..given import images_of
from ..verb import verb
from .options import SaeOptions
from .result import TrainedAutoencoder


@verb(SaeOptions)
def train_autoencoder(
    model: Model,
    images: Any,
    *,
    options: SaeOptions,
    batch_size: int = 64,
    count: int | None = None,
) -> TrainedAutoencoder:
    """A sparse autoencoder of the stream that leaves a layer, trained on the tokens of images in any form.

    `model.with_autoencoder(found.sae)` makes its latents units. Raises `SummandError` for a layer without later
    attention, and for too few tokens.
    """
    tower = with_neurons(model.tower)
    layer = max(0, tower.layers - 3) if options.layer is None else options.layer
    with_neurons(model.tower, [layer])
    given = images_of(images, count)
    tokens = _tokens(model, given.source, layer, options, batch_size)
    steps = options.epochs * len(tokens)
    with Progress("training", steps, "tokens") as bar:
        trained = train(tokens, layer, options.latents, options.top_k, options.epochs, options.seed, bar.update)
    row = {
        "layer": layer,
        "latents": options.latents,
        "active": trained.active,
        "explained": trained.explained,
        "alive": trained.alive,
    }
    found = TrainedAutoencoder([row], options, model=model.name, data=given.source.label)
    found.sae = trained.sae
    return found


def _tokens(
    model: Model, source: Any, layer: int, options: SaeOptions, batch_size: int
) -> Float[Tensor, "token width"]:
    """Tokens of the stream, at most so many: the same number of every image. No survey keeps the stream."""
    chance, found = torch.Generator().manual_seed(options.seed), []
    each = max(1, options.tokens // len(source))
    with torch.no_grad():
        for batch in read(model, source, batch_size, what="reading the stream"):
            stream = stream_of(model.tower, batch.pixels, layer).float()
            some = torch.randperm(stream.shape[1], generator=chance)[:each].to(stream.device)
            found.append(stream[:, some].flatten(0, 1))
    return torch.cat(found)
