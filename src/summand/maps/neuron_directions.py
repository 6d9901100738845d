"""r_n of the neurons of some layers, learnt from images or known to a survey."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..models import Model
from ..statistics.principal_direction import RankOne
from ..survey import Group, Survey
from ..survey.make import survey
from ..towers.residual import ResidualTower
from ..whole_numbers import whole_number


def neuron_directions(
    model: Model,
    batches: Callable[[], Iterable[Float[Tensor, "image 3 height width"]]],
    layers: Collection[int] | None = None,
    top: int | None = None,
) -> dict[int, RankOne]:
    """r_n of the neurons of some layers, of a survey of reference images that are preprocessed. top: made from so many
    of the largest effects [default: `top_count`], at most a quarter of all.

    layers: by default the three before the last (paper A: 8–10 of 12).
    """
    layers = default_layers(model) if layers is None else sorted(set(layers))
    groups = [Group("neurons", layer) for layer in layers]
    pixels = pixels_at_hand(model, batches)
    top = None if top is None else min(top, max(1, len(pixels) // 4))
    found = survey(model, pixels, units=groups, held_out=0, top=top, progress=False)
    return {layer: found.rank_one(group) for layer, group in zip(layers, groups, strict=True)}


def directions_of(survey: Survey, layers: Collection[int] | None = None) -> dict[int, RankOne]:
    """r_n of the neurons of some layers as a survey knows them, by default of all its layers."""
    known = [group for group in survey.groups if group.layer is not None]
    groups = known if layers is None else [survey.group(Group("neurons", layer)) for layer in layers]
    if not groups:
        raise SummandError(f"{survey!r} holds no neurons; survey them with units='neurons'")
    return {group.layer: survey.rank_one(group) for group in groups if group.layer is not None}


def pixels_at_hand(
    model: Model, batches: Callable[[], Iterable[Float[Tensor, "image 3 height width"]]]
) -> Float[Tensor, "image 3 height width"]:
    """All batches together. Raises `SummandError` where there are none, or they are not for this model."""
    found = list(batches())
    if not found:
        raise SummandError("directions of units are learnt from images, and there are none")
    for pixels in found:
        model.check_pixels(pixels)
    return torch.cat(found)


def default_layers(model: Model) -> list[int]:
    """The three layers before the last, as far as there are so many."""
    last = readable(model).layers - 1
    return list(range(max(0, last - 3), last))


def readable(model: Model) -> ResidualTower:
    """The tower where it has MLP neurons in its residual stream."""
    if not isinstance(model.tower, ResidualTower):
        raise SummandError(
            f"MLP neurons over patch tokens are of transformers; {model.name} is a {model.tower.kind}. The pair maps "
            f"use the neurons in front of its attention pool"
        )
    return model.tower


def check_layers(model: Model, layers: Collection[int]) -> None:
    """Raises `SummandError` for a layer that the model does not have, or none at all."""
    last = readable(model).layers - 1
    wrong = [layer for layer in layers if whole_number(layer) not in range(last + 1)]
    if wrong or not layers:
        raise SummandError(f"{model.name} has layers 0 to {last}, got {list(layers)}")
