"""Which units to remove: given by hand, by the property of their labels, or found from texts of the attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...data import ImageSource
from ...effects.second_order import with_neurons
from ...models import Model
from ...statistics.moments import Moments
from ...survey import Group, Survey
from ...survey.consumers import MomentsOf
from ...survey.engine import Stage, passes
from ...survey.unit_words import Words
from ...text.labels import importance, label_heads
from ...text.pools import Pool
from .control import check_layers
from .spurious import COVER, Suspect, by_property, choose, described


def head_moments(
    model: Model,
    source: ImageSource,
    layers: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> tuple[Moments, list[int]]:
    """Moments of the heads of these layers (all by default) over unlabelled images, or a survey's; and which layers."""
    where = check_layers(model, layers)
    if survey is not None and survey.holds("heads"):
        return survey.moments("heads").select(where).to(model.device), where
    found = MomentsOf(heads := Group("heads"), of=lambda batch: batch.effects(heads).select(where))
    _pass(model, source, found, batch_size, progress)
    return found.value, where


def neuron_moments(
    model: Model,
    source: ImageSource,
    layer: int,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> Moments:
    """Moments of the second-order effects of a layer's neurons over unlabelled images, or a survey's."""
    with_neurons(model.tower, [layer])
    if survey is not None and survey.holds(Group("neurons", layer)):
        return survey.moments(Group("neurons", layer)).to(model.device)
    found = MomentsOf(Group("neurons", layer))
    _pass(model, source, found, batch_size, progress)
    return found.value


def _pass(model: Model, source: ImageSource, moments: MomentsOf, batch_size: int, progress: bool | None) -> None:
    plan, what = [Stage("moments", np.arange(len(source)))], f"looking at {moments.group.kind}"
    passes(model, source, {"moments": moments}, plan, batch_size=batch_size, what=what, progress=progress)


def named(units: Sequence[tuple[int, int]], kind: Literal["head", "neuron"] = "head") -> list[Suspect]:
    """Units that somebody named, each once: nothing is known of them."""
    nothing = float("nan")
    return [Suspect(unit, nothing, nothing, nothing, kind=kind) for unit in dict.fromkeys(units)]


def labelled_heads(
    model: Model,
    source: ImageSource,
    wanted: str,
    pool: Pool,
    *,
    layers: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
    called: Mapping[tuple[int, int], Words] | None = None,
) -> list[Suspect]:
    """The heads of these layers (all by default) whose label fits a property (see `by_property`)."""
    moments, where = head_moments(model, source, layers, batch_size, progress, survey)
    texts = model.encode_text(pool.texts, progress=progress)
    labels = label_heads(moments, range(len(where)), pool.texts, texts, importance(moments, texts))
    return by_property([replace(label, layer=where[label.layer]) for label in labels], wanted, called)


def found_heads(
    model: Model,
    source: ImageSource,
    attribute: Float[Tensor, "value embed"],
    classes: Float[Tensor, "class embed"],
    pool: Pool,
    *,
    cover: float = COVER,
    layers: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> list[Suspect]:
    """Heads that vary along the attribute's texts rather than the classes' over unlabelled images, and their texts."""
    moments, where = head_moments(model, source, layers, batch_size, progress, survey)
    found = choose(moments, attribute, classes, where, cover)
    return described(found, moments, where, pool.texts, model.encode_text(pool.texts, progress=progress))


def found_neurons(
    model: Model,
    source: ImageSource,
    attribute: Float[Tensor, "value embed"],
    classes: Float[Tensor, "class embed"],
    layer: int,
    *,
    cover: float = COVER,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> list[Suspect]:
    """The same of the second-order effects of a layer's neurons."""
    moments = neuron_moments(model, source, layer, batch_size, progress, survey)
    return choose(moments, attribute, classes, [layer], cover, "neuron")
