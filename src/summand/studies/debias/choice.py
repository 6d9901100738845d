"""Which way to repair: the one under which the attribute moves the classes least, on held-out unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data import ImageSource
from ...data.sources import Some
from ...models import Model
from ...survey import Survey
from ..ablation.accuracy import Batch, read
from ..ablation.remembered import remembered, remembers
from .leak import independent, leak, strength, values_of
from .options import WAYS, Way
from .ways import along, units

_MOST = 8000  # unlabelled images that a choice is made on
_SURE = 2.58  # deviations that a strength must be above 0
_FEWEST = 16


def every_other(source: ImageSource, step: int = 2) -> Some:
    """Every so manieth image of a source."""
    return Some(source, np.arange(0, len(source), step))


@dataclass(frozen=True)
class Choice:
    """way: None where the attribute does not reach the answer. strength: of "measured", over all images. leaks: of the
    model as it is ("before") and of every way; strengths: (s, its error) of the units, and of the axis. images: held
    out."""

    way: Way | None
    strength: float
    leaks: dict[str, float]
    strengths: dict[str, tuple[float, float]]
    images: int


def choose_way(
    model: Model,
    source: ImageSource,
    found: Sequence[tuple[int, int]],
    axes: Float[Tensor, "axis embed"],
    attribute: Float[Tensor, "value embed"],
    classifier: Float[Tensor, "class embed"],
    *,
    neurons: bool = False,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> Choice:
    """The way of least `leak`, among those whose terms move the classes' scores at all: of a strength above 0 by 2.58
    errors.

    Classes are those that the model says once the units and the axes are all gone, values of the attribute those that
    it reads by the attribute's texts, and images are weighted so that the two are independent. Strengths are taken over
    the images that the units were found on (every other one), leaks over the rest. "measured" removes s less its error:
    as much as is sure; once that is weighed, s is taken anew over all images. survey: of `source`, which the units
    were found in: leaks are over the images that it kept aside, and heads that it kept of every image are not looked at
    again.
    """
    step = max(1, -(-len(source) // _MOST))
    step = step if step == 1 else step | 1  # an odd step keeps both halves
    images = source if step == 1 else every_other(source, step)
    outputs, moved, terms, places = [], [], [], []
    if survey is not None and not neurons and remembers(survey, model):
        batches, step = remembered(survey, model, batch_size, aside=True), 1
    else:
        batches = read(model, images, batch_size, "weighing ways", progress)
    for batch in batches:
        outputs.append(batch.total.cpu().double())
        moved.append(_written(batch, found, neurons).cpu().double())
        terms.append(along(batch.layers.sum(dim=1) + batch.parts.mlps().sum(dim=1), axes).cpu().double())
        places += [index * step for index in batch.indices]
    whole, some, every = (torch.cat(rows) for rows in (outputs, moved, terms))
    aside = np.array(places) % 2 == 1 if survey is None else np.isin(places, survey.held_out_images)
    held_out = torch.from_numpy(aside)
    return _chosen(whole, some - some.mean(dim=0), every - every.mean(dim=0), held_out, axes.cpu().double(),
                   attribute.cpu().double(), classifier.cpu().double(), bool(found), neurons)  # fmt: skip


def _chosen(
    whole: Tensor,
    some: Tensor,
    every: Tensor,
    held_out: Tensor,
    axes: Tensor,
    attribute: Tensor,
    classifier: Tensor,
    has_units: bool,
    neurons: bool,
) -> Choice:
    across = whole - some
    across = across - along(across - across.mean(dim=0), axes)
    classes, values = (across @ classifier.T).argmax(dim=1), values_of(whole, attribute)
    if len(whole) < _FEWEST or not bool(held_out.any()) or not bool((~held_out).any()):
        return Choice(None, 1.0, {}, {}, int(held_out.sum()))
    fit, weigh = ~held_out, held_out
    projected = along(whole - whole.mean(dim=0), axes)
    lost: dict[Way, Tensor] = {"terms-axis": every, "text-axis": projected}
    if has_units:
        lost = {"units": some, "units-axis": along(some, axes), **lost}
    weights = independent(classes[fit], values[fit])
    strengths = {
        way: strength(whole[fit] @ classifier.T, gone[fit] @ classifier.T, classes[fit], weights)
        for way, gone in lost.items()
    }
    sure = 1.0
    if has_units and not neurons:
        lost["measured"], strengths["measured"] = _sure(*strengths["units"]) * some, strengths["units"]
        every_image = independent(classes, values)
        sure = _sure(*strength(whole @ classifier.T, some @ classifier.T, classes, every_image))
    if neurons:
        lost.pop("units-axis", None)
    weights = independent(classes[weigh], values[weigh])
    leaks = {
        name: leak((whole[weigh] - gone[weigh]) @ classifier.T, classes[weigh], values[weigh], weights)
        for name, gone in [("before", torch.zeros_like(whole)), *lost.items()]
    }
    able: list[Way] = [way for way in WAYS if way in lost and strengths[way][0] > _SURE * strengths[way][1]]
    able.sort(key=lambda way: leaks[way])
    way = able[0] if able and leaks[able[0]] < leaks["before"] else None
    ordered = {name: leaks[name] for name in ("before", *WAYS) if name in leaks}
    return Choice(way, sure, ordered, strengths, int(weigh.sum()))


def _sure(found: float, error: float) -> float:
    """As much of a strength as is sure."""
    return min(max(found - error, 0.0), 2.0)


def _written(batch: Batch, found: Sequence[tuple[int, int]], neurons: bool) -> Tensor:
    """Σ_S φ."""
    if not found:
        return torch.zeros_like(batch.total)
    if not neurons:
        return units(batch, found)
    effects, chosen = batch.second_order(found[0][0]), [neuron for _, neuron in found]
    return effects.basis.select(chosen).total(effects.coefficients[:, chosen])
