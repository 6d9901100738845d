"""The directions of neurons by their indirect effects: what the second-order ones are compared with (paper A, §5.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...data import ImageSource
from ...data.sources import batches
from ...effects.activations import activations, mean_activations
from ...effects.indirect import indirect
from ...errors import SummandError
from ...models import Model, pixels_of
from ...progress import Progress
from ...survey import Group
from ...towers.precision import doubled

_FEWEST = 8


def indirect_directions(
    model: Model,
    source: ImageSource,
    groups: Sequence[Group],
    neurons: int = 300,
    images: int = 40,
    batch_size: int = 64,
    progress: bool | None = False,
) -> tuple[Float[Tensor, "unit embed"], tuple[str, ...]]:
    r"""The first principal direction of M(x) − M(x | p^n ← p̄^n) over images, for the neurons that write most.

    groups: neurons of layers, as `neuron_groups` gives them. neurons: how many are tried, each layer its share: those
    of largest Σ_i Var(p_i) ‖w‖². images: at most so many of the source. Every neuron costs a pass behind its layer
    for every image (paper A: all neurons), which is why both are few, and why no survey holds them. Also returns the
    neurons' names.

    Raises `SummandError` for units that are not neurons of a plain transformer, and fewer than 8 readable images.
    """
    layers = [group.layer for group in groups if group.kind == "neurons" and group.layer is not None]
    if len(layers) != len(groups) or not layers:
        raise SummandError("indirect effects are of the neurons of a transformer's layers, not of an attention pool")
    if neurons < len(layers) or images < _FEWEST:
        raise SummandError(
            f"indirect effects need at least a neuron of each of the {len(layers)} layers and {_FEWEST} images; "
            f"got {neurons} and {images}"
        )
    pixels = _first(model, source, images)
    directions, names = [], []
    with Progress("indirect effects", len(layers), "layers", progress) as bar:
        for group, layer in zip(groups, layers, strict=True):
            seen = activations(model.tower, pixels, layer)
            writes = model.tower.blocks[layer].neuron_writes()  # type: ignore[attr-defined]
            strength = doubled(seen).var(dim=0).sum(dim=0) * doubled(writes).square().sum(dim=1)
            chosen = strength.argsort(descending=True, stable=True)[: neurons // len(layers)].tolist()
            effects = indirect(model.tower, pixels, layer, chosen, mean_activations([seen]), batch_size).coefficients
            centred = doubled((effects - effects.mean(dim=0)).transpose(0, 1))  # [neuron, image, embed]
            directions.append(torch.linalg.svd(centred, full_matrices=False).Vh[:, 0])
            names += [group.unit((neuron,)) for neuron in chosen]
            bar.update()
    return torch.cat(directions), tuple(names)


def _first(model: Model, source: ImageSource, images: int) -> Float[Tensor, "image 3 height width"]:
    found: list[Tensor] = []
    for batch in batches(source, images, []):
        found.append(pixels_of(model, batch.images))
        if sum(map(len, found)) >= images:
            break
    if sum(map(len, found)) < _FEWEST:
        raise SummandError(f"{source.label}: fewer than {_FEWEST} images could be read; give more with reference=")
    return torch.cat(found)[:images]
