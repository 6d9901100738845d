"""What a study is given: images or the survey of some, what is usual of their units, and a pool of descriptions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import ImageSource, Skipped, open_source
from ..data.adapters import open_images
from ..data.sources import Some
from ..errors import SummandError
from ..models import Model
from ..models.readable import readable
from ..survey import Group, Survey, open_survey
from ..survey.manifest import FILE
from ..survey.profile import Profile, neuron_groups, profile, profile_of
from ..survey.units import groups_of
from ..text.pools import Pool, pool
from ..towers.pool import PoolTower
from ..unit import Wanted, parse_layers
from .verb import OptionError

_NAMED = 5  # lines of a pool that are named when they cannot be read
SOME = 1000
"""Scenes that say what is usual where nothing else was given."""


@dataclass(frozen=True)
class Given:
    """Images as a study was given them. name: what the caller calls them. run: None where they are no survey."""

    name: str
    source: ImageSource
    run: Survey | None = None
    text: str | None = None
    """What the source was opened from, where it was a string or a path."""


def images_of(images: Any, count: int | None = None) -> Given:
    """A source string, a path, an opened source, or the folder of a survey; count: at most so many of its images.

    Raises `SummandError` for what holds no images, and for a count of a survey's.
    """
    if isinstance(images, Given):
        return images
    if isinstance(images, (str, os.PathLike)) and is_survey(images):
        images, name = open_survey(str(images)), str(images)
    else:
        name = str(images) if isinstance(images, (str, os.PathLike)) else getattr(images, "label", "")
    if isinstance(images, Survey):
        name = name or str(images.path)
        if count is not None:
            raise SummandError(f"{name} is a run, which has its own images; leave out count={count}")
        return Given(name, images.source(), images)
    if isinstance(images, ImageSource):
        return Given(name, images)
    text = str(images) if isinstance(images, (str, os.PathLike)) else None
    source = open_source(text, count) if text is not None else open_images(images, count)
    return Given(name or source.label, source, text=text)


def is_survey(given: Any) -> bool:
    """Whether it is a survey, or the folder of one."""
    if isinstance(given, (str, os.PathLike)):
        return (Path(given).expanduser() / FILE).is_file()
    return isinstance(given, Survey) or (isinstance(given, Given) and given.run is not None)


def few(given: Given, most: int) -> ImageSource:
    """At most so many of the images, spread over them; all of a survey's."""
    if given.run is not None or len(given.source) <= most:
        return given.source
    if given.text is not None:
        return open_source(given.text, most)
    return Some(given.source, np.linspace(0, len(given.source) - 1, most).round().astype(int))


def usual(model: Model, given: Given, groups: Sequence[Group], batch_size: int) -> Profile:
    """r_n, b_n, significance and the centre: from the survey where it holds the groups, else from passes over its
    images."""
    if given.run is not None and all(group in given.run.groups for group in groups):
        return profile_of(given.run, groups)
    return profile(model, given.source, groups, batch_size, None)


def reference_of(model: Model, reference: Any, count: int | None) -> Given:
    """What is usual for the model: as given, by default scenes for a model of scenes. Raises `SummandError` for other
    models without a reference."""
    if reference is None and model.world.images is None:
        raise SummandError(
            f"reference=IMAGES is missing: give images, or the folder of a survey, that say what is usual for "
            f"{model.name}"
        )
    return images_of(model.world.name, count or SOME) if reference is None else images_of(reference, count)


def neurons_of(model: Model, layers: str | Sequence[int] | None) -> tuple[Group, ...]:
    """The neurons of these layers, by default of the last three with later attention; of an attention pool its pairs.

    Raises `OptionError` for layers of a pool, and `SummandError` for layers without such neurons.
    """
    if layers is None:
        return neuron_groups(model)
    if isinstance(model.tower, PoolTower):
        raise OptionError("layers", f"must be left out: {model.name} is read by the pairs of its one attention pool")
    return groups_of(model, [Wanted("neurons", parse_layers(layers))])


def layers_of(model: Model, layers: str | Sequence[int] | None, last: int) -> tuple[int, ...]:
    """Layers of attention, as they were asked for, by default so many last ones. Raises `OptionError` for others."""
    have = model.tower.layers
    asked = tuple(range(max(0, have - last), have)) if layers is None else parse_layers(layers)
    if not asked or not all(0 <= layer < have for layer in asked):
        raise OptionError("layers", f"must be layers of {model.name}, 0 to {have - 1}; got {layers!r}")
    return asked


def of_scenes(model: Model) -> bool:
    """Whether its words are those of a small world whose attributes are known."""
    return bool(model.world.attributes)


def readable_pool(model: Model, chosen: str | os.PathLike[str] | Sequence[str]) -> tuple[Pool, list[str]]:
    """A description pool without the lines that the model cannot read, and what must be said of these."""
    whole = pool(chosen if isinstance(chosen, (str, Path)) or not isinstance(chosen, os.PathLike) else Path(chosen))
    kept, left = readable(whole, model._tokenizer)
    notes = [f"skipped {whole.name}, line {item.line}: {_short(item.reason)}" for item in left[:_NAMED]]
    if left:
        notes.append(f"{len(left)} of {len(whole.texts):,} descriptions of {whole.name} were skipped")
    return kept, notes


def unread(skipped: Sequence[Skipped]) -> list[str]:
    """What must be said of files that could not be read."""
    return [f"skipped {item.name}: {item.reason}" for item in skipped]


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
