"""How much of a unit's effect its first principal component explains (paper A, Table 1; paper B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data import ImageSource
from ...effects.activations import activations, check_layer, mean_activations, readable
from ...effects.effects import Effects
from ...effects.indirect import indirect
from ...effects.pairs import with_pairs
from ...effects.second_order import with_neurons
from ...errors import SummandError
from ...models import Model
from ...statistics.moments import Moments
from ...statistics.principal_direction import RankOne, rank_one
from ...survey import Group, Survey
from ...survey.consumers import MomentsOf, TopImagesOf
from ...survey.engine import Batch, Stage, passes
from ...towers.precision import doubled
from ...whole_numbers import whole_number
from .accuracy import read

Kind = Literal["second-order", "indirect", "pairs", "neurons"]
KINDS = ("second-order", "indirect", "pairs", "neurons")
TOP, _FEWEST = 100, 8
_HELD = 2**26  # numbers of indirect effects that are held at a time: 256 MB


@dataclass(frozen=True)
class Explained:
    r"""What the first principal component r_n explains of the neurons' (or pairs') effects, each unit alike.

    largest: the share s_1² / Σ s_k² of the singular values of the largest centred effects, which r_n is made from.
    everywhere: Σ_x ⟨φ_n(x) − φ̄_n, r_n⟩² / Σ_x ‖φ_n(x) − φ̄_n‖² over all images. Both [unit], NaN for a unit that
    never varies. units: their indices; images, top: how many there were, and how many of the largest effects.
    """

    kind: Kind
    layer: int | None
    units: tuple[int, ...]
    images: int
    top: int
    largest: Float[Tensor, " unit"]
    everywhere: Float[Tensor, " unit"]

    def row(self) -> dict[str, Any]:
        """Means over the units."""
        shares = {"largest": float(self.largest.nanmean()), "everywhere": float(self.everywhere.nanmean())}
        about = {"effects": self.kind, "layer": self.layer, "units": len(self.units)}
        return {**about, "images": self.images, "top": self.top, **shares}


def explained(
    model: Model,
    source: ImageSource,
    kind: Kind,
    layer: int | None = None,
    neurons: int | Sequence[int] | None = None,
    *,
    top: int = TOP,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> Explained:
    """The variance that one component explains: of the second-order or the indirect effects of a layer's neurons
    (paper A, Table 1), of the pairs of an attention pool, or of its neurons, all heads together (paper B).

    neurons: which, or how many, spread evenly over the layer; by default all. An indirect effect is measured by a real
    pass behind the layer for every image and neuron, the others follow from two passes. top: how many of the largest
    centred effects r_n is made from, at most a quarter of the images (paper A: 100 of 5,124). survey: of `source`;
    second-order effects and pairs that it holds are not looked at again, and r_n is its own. What no survey holds, the
    neurons of a pool summed over its heads and indirect effects, is measured on its images.

    Raises `SummandError` for a layer or neurons that the model does not have, and fewer than 8 readable images.
    """
    if kind not in KINDS:
        raise SummandError(f"the variance of {', '.join(KINDS)} is explained, not of {kind!r}")
    count = _count(model, kind, layer)
    chosen = _chosen(neurons, count)
    if kind == "indirect":
        assert layer is not None
        images, size, shares = _of_indirect(model, source, layer, chosen, top, batch_size, progress)
    elif survey is not None and (group := _group(kind, layer)) in survey.groups and survey.manifest.top != 0:
        images, size, shares = _of_survey(survey, group, chosen)
    else:
        images, size, shares = _of_factors(model, source, kind, layer, chosen, top, batch_size, progress)
    return Explained(kind, layer, tuple(chosen), images, size, *shares)


def _count(model: Model, kind: Kind, layer: int | None) -> int:
    """How many units there are along the axis that is chosen from."""
    if kind in ("pairs", "neurons"):
        if layer is not None:
            raise SummandError(f"the neurons of an attention pool are of one layer; leave layer={layer} out")
        return with_pairs(model.tower).pair_directions().shape[0]
    if layer is None:
        raise SummandError(f"{kind} effects are of the neurons of a layer; say which with layer=")
    if kind == "second-order":
        return with_neurons(model.tower, [layer]).neuron_directions(layer).shape[0]
    tower = readable(model.tower, "indirect effects are")
    check_layer(tower, layer)
    return tower.blocks[layer].neuron_output().shape[1]


def _chosen(neurons: int | Sequence[int] | None, count: int) -> list[int]:
    if neurons is None:
        return list(range(count))
    number = whole_number(neurons)
    if number is not None:
        if number < 1:
            raise SummandError(f"expected at least one neuron, got {number}")
        few = min(number, count)
        return [round(i * (count - 1) / max(1, few - 1)) for i in range(few)]
    if isinstance(neurons, int):
        raise SummandError(f"expected a number of neurons or which ones, got {neurons}")
    wrong = [n for n in neurons if whole_number(n) not in range(count)]
    if wrong or not len(neurons):
        raise SummandError(f"neurons are 0 to {count - 1}, got {wrong or 'none'}")
    return [int(n) for n in neurons]


def _size(images: int, top: int) -> int:
    if images < _FEWEST:
        raise SummandError(
            f"a principal component of the largest effects needs at least {_FEWEST} images, got {images}"
        )
    return max(1, min(top, images // 4))


Shares = tuple[Float[Tensor, "*unit"], Float[Tensor, "*unit"]]


def _of_factors(
    model: Model,
    source: ImageSource,
    kind: Kind,
    layer: int | None,
    chosen: list[int],
    top: int,
    batch_size: int,
    progress: bool | None,
) -> tuple[int, int, Shares]:
    group = Group("pairs") if layer is None else Group("neurons", layer)

    def effects(batch: Batch) -> Effects:
        some = batch.effects(group).select(chosen)
        return some.sum_over_last_unit() if kind == "neurons" else some

    moments, plan = MomentsOf(group, of=effects), np.arange(len(source))
    largest = TopImagesOf(moments, _size(len(source), top))
    stages = [Stage("means", plan), Stage("largest effects", plan, again=True)]
    more = {"batch_size": batch_size, "what": f"{kind} effects", "progress": progress, "least": _FEWEST}
    passes(model, source, {"moments": moments, "top images": largest}, stages, **more)
    first, everywhere = _shares(moments.value, rank_one(largest.value))
    return moments.value.count, largest.k, (first.flatten(), everywhere.flatten())


def _group(kind: Kind, layer: int | None) -> Group | None:
    """What a survey calls these units; None where it has none of the kind."""
    return {"second-order": Group("neurons", layer), "pairs": Group("pairs")}.get(kind)


def _of_survey(survey: Survey, group: Group, chosen: list[int]) -> tuple[int, int, Shares]:
    moments, largest = survey.moments(group), survey.top_images(group)
    first, everywhere = _shares(moments, rank_one(largest))
    return moments.count, largest.k, (first[chosen].flatten(), everywhere[chosen].flatten())


def _shares(moments: Moments, ranks: RankOne) -> Shares:
    along, variance = ranks.reading()[..., 0], moments.variance()
    everywhere = torch.einsum("...p,...pq,...q->...", along, moments.covariance, along) / variance
    return torch.where(variance > 0, ranks.explained[..., 0], torch.nan), everywhere


def _of_indirect(
    model: Model, source: ImageSource, layer: int, chosen: list[int], top: int, batch_size: int, progress: bool | None
) -> tuple[int, int, Shares]:
    """Neurons are taken a few at a time, whose effects on all images are held. No survey can know an indirect effect,
    which is what a pass with the neuron replaced gives: for every few neurons the images are read again."""
    means = mean_activations(
        activations(model.tower, batch.pixels, layer)
        for batch in read(model, source, batch_size, "mean activations", progress)
    )
    step = max(1, _HELD // (len(source) * model.tower.embed))
    shares: list[Shares] = []
    images = size = 0
    for start in range(0, len(chosen), step):
        some = chosen[start : start + step]
        found = torch.cat(
            [
                indirect(model.tower, batch.pixels, layer, some, means, batch_size, progress).coefficients.cpu()
                for batch in read(model, source, batch_size, f"indirect effects, layer {layer}", progress)
            ]
        )
        images, size = len(found), _size(len(found), top)
        shares.append(first_component(found, size))
    return images, size, (torch.cat([share for share, _ in shares]), torch.cat([share for _, share in shares]))


def first_component(effects: Float[Tensor, "image unit embed"], top: int) -> Shares:
    """`Explained.largest` and `everywhere` of effects as they are."""
    centred = doubled(effects - effects.mean(dim=0)).transpose(0, 1)  # [unit, image, embed]
    best = centred.norm(dim=-1).topk(top, dim=1).indices
    largest = centred.gather(1, best[..., None].expand(-1, -1, centred.shape[-1]))
    _, sizes, right = torch.linalg.svd(largest, full_matrices=False)
    along = (centred @ right[:, 0, :, None]).square().sum(dim=(1, 2))
    return sizes[:, 0].square() / sizes.square().sum(dim=1), along / centred.square().sum(dim=(1, 2))
