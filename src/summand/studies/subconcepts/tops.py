"""How much of one thing a unit is: its top images against each other, and a neuron's against those of its pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ...data import ImageSource
from ...data.sources import Some
from ...effects.pairs import with_pairs
from ...errors import SummandError
from ...models import Model
from ...statistics.principal_direction import rank_one
from ...statistics.top_images import TopImages
from ...survey import Survey
from ...survey.consumers import MomentsOf, TopImagesOf
from ...survey.engine import Stage, passes, read
from ...survey.per_image import Embeddings
from ...survey.units import Wanted, groups_of
from ...towers.precision import doubled

TOP = 10
_DRAWS = 200


def inertia(embeddings: Float[Tensor, "*unit image embed"]) -> Float[Tensor, "*unit"]:
    r"""Σ_i ‖e_i − ē‖² of the unit embeddings of a unit's top images: 0 where they are all alike (paper B's proxy of
    polysemanticity: the lower, the more of one thing)."""
    unit = F.normalize(doubled(embeddings), dim=-1)
    return (unit - unit.mean(dim=-2, keepdim=True)).square().sum(dim=(-2, -1))


@dataclass(frozen=True)
class TopsOfPairs:
    """Top images of neurons and of their pairs, and how alike they are.

    neurons: their numbers. neuron_images: [neuron, TOP], pair_images: [neuron, head, TOP], numbers in the source, the
    largest effect first. neuron_inertia: [neuron]; pair_inertia: [neuron, head]; chance: the mean inertia of as many
    images drawn at random. tops: what the top images were chosen by, of the neurons and of the pairs.
    """

    neurons: tuple[int, ...]
    neuron_images: Int[Tensor, "neuron top"]
    pair_images: Int[Tensor, "neuron head top"]
    neuron_inertia: Float[Tensor, " neuron"]
    pair_inertia: Float[Tensor, "neuron head"]
    chance: float
    tops: tuple[TopImages, TopImages]

    def directions(self) -> tuple[Float[Tensor, "neuron embed"], Float[Tensor, "neuron head embed"]]:
        """r of the neurons and of the pairs: what their top images have written into the output."""
        neurons, pairs = (rank_one(top).directions for top in self.tops)
        return neurons, pairs

    def narrower(self) -> float:
        """The share of pairs whose top images are more alike than those of their neuron."""
        return float((self.pair_inertia < self.neuron_inertia[:, None]).double().mean())

    def low(self, below: float) -> tuple[float, float]:
        """The shares of neurons and of pairs with an inertia under `below` (paper B's histogram)."""
        return tuple(float((found < below).double().mean()) for found in (self.neuron_inertia, self.pair_inertia))  # type: ignore[return-value]


def tops_of_pairs(
    model: Model,
    source: ImageSource,
    neurons: Sequence[int] | None = None,
    top: int = TOP,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> TopsOfPairs:
    """A neuron in front of an attention pool, summed over heads, against its pairs with single heads (paper B).

    Top images are those of largest centred norm; two passes over the source, or one where a survey of it knows the
    pairs' means (then images that it kept aside are not among them). neurons: which; all by default. A neuron whose
    images are butterflies may be, through one head, butterfly costumes: a sub-concept.

    Raises `SummandError` for towers without an attention pool, neurons that do not exist, and fewer images than `top`.
    """
    if len(source) < top:
        raise SummandError(f"{source.label} holds {len(source)} image(s), fewer than the {top} top images asked for")
    group = groups_of(model, [Wanted("pairs")])[0]
    every = with_pairs(model.tower).pair_directions().shape[0]
    chosen = list(range(every)) if neurons is None else list(neurons)
    _check(chosen, every)
    if survey is not None and survey.holds(group):
        best = _known_means(model, source, survey, chosen, top, batch_size, progress)
        return _compared(chosen, *best, survey.embeddings, np.array(survey.images.index))
    pairs, rows = MomentsOf(group, of=lambda batch: batch.effects(group).select(chosen)), Embeddings()
    summed = MomentsOf(group, of=lambda batch: batch.effects(group).select(chosen).sum_over_last_unit())
    best = TopImagesOf(summed, top), TopImagesOf(pairs, top)
    consumers = {"pairs": pairs, "neurons": summed, "images": rows, "best neurons": best[0], "best pairs": best[1]}
    plan = np.arange(len(source))
    stages = [Stage("means", plan), Stage("largest effects", plan, again=True)]
    options = {"batch_size": batch_size, "what": "subconcepts", "progress": progress, "least": top}
    passes(model, source, consumers, stages, **options)
    state = rows.ordered()
    known = torch.from_numpy(state["embedding"]).float()
    return _compared(chosen, best[0].value, best[1].value, known, state["images"])


def _known_means(
    model: Model,
    source: ImageSource,
    survey: Survey,
    chosen: list[int],
    top: int,
    batch_size: int,
    progress: bool | None,
) -> tuple[TopImages, TopImages]:
    """The top images of neurons and of their pairs, by a survey's means: one pass."""
    mean = survey.moments("pairs").select(chosen).mean.to(model.device)
    best = TopImages(top, mean.flatten(-2)), TopImages(top, mean)
    images = survey.images
    used = images.index.to_numpy()[~images["held_out"].to_numpy()]
    for batch in read(model, Some(source, used), batch_size, what="subconcepts", progress=progress):
        pairs, numbers = model.pairs(batch.pixels).select(chosen), used[batch.indices].tolist()
        best[0].update(pairs.sum_over_last_unit(), numbers)
        best[1].update(pairs, numbers)
    return best


def _compared(
    chosen: list[int], of_neurons: TopImages, of_pairs: TopImages, known: Tensor, images: np.ndarray
) -> TopsOfPairs:
    """How alike the top images are, by the embeddings of all images; a row of `known` for each number in `images`."""
    top = of_neurons.k
    place = torch.full((int(images.max()) + 1,), -1)
    place[torch.from_numpy(images)] = torch.arange(len(images))
    draws = np.random.default_rng(0)
    random = torch.stack([known[draws.choice(len(known), top, replace=False)] for _ in range(_DRAWS)])
    return TopsOfPairs(
        tuple(chosen),
        of_neurons.ids.cpu(),
        of_pairs.ids.cpu(),
        inertia(known[place[of_neurons.ids.cpu()]]),
        inertia(known[place[of_pairs.ids.cpu()]]),
        float(inertia(random).mean()),
        (of_neurons, of_pairs),
    )


def _check(neurons: list[int], count: int) -> None:
    wrong = [n for n in neurons if not 0 <= n < count]
    if wrong or not neurons:
        raise SummandError(f"neurons are counted from 0 to {count - 1}, got {wrong or 'none'}")
