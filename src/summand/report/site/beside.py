"""The survey that a site is made of: read where it stands, its labels beside it, nothing of it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import xarray as xr
from PIL import Image

from ...data import ImageSource, open_source
from ...errors import SummandError
from ...models import Model
from ...survey import Group, Survey, survey_of
from ...survey.labels import SIZE, kinds_of, label_run
from ...survey.shelf import LABELS, InMemory, Shelf
from ...survey.units import Wanted, groups_of, parse_units
from ...text.pools import Pool
from ...towers.pool import PoolTower
from ...towers.residual import ResidualTower

_NEURON_LAYERS = 2


class Beside(InMemory):
    """A shelf that is read through; what is put on it stays in memory."""

    def __init__(self, inner: Shelf) -> None:
        super().__init__()
        self._inner, self.path, self.label = inner, inner.path, inner.label

    def has(self, name: str, table: bool = False) -> bool:
        return super().has(name, table) or self._inner.has(name, table)

    def dataset(self, name: str) -> xr.Dataset:
        return super().dataset(name) if super().has(name) else self._inner.dataset(name)

    def table(self, name: str) -> pd.DataFrame:
        return super().table(name) if super().has(name, True) else self._inner.table(name)


def surveyed(
    model: Model, source: ImageSource, units: str | None, held_out: float, batch_size: int, progress: bool | None
) -> Survey:
    """The survey of some images, made now or known from before."""
    groups = usual_groups(model) if units is None else groups_of(model, parse_units(units))
    return survey_of(model, source, groups, held_out=held_out, batch_size=batch_size, progress=progress)


def usual_groups(model: Model) -> tuple[Group, ...]:
    """Heads; of a plain transformer the neurons of the last two layers with later attention, of a pool its pairs."""
    tower, wanted = model.tower, [Wanted("heads")]
    if isinstance(tower, PoolTower):
        wanted.append(Wanted("pairs"))
    elif isinstance(tower, ResidualTower) and tower.plain and tower.layers > 1:
        wanted.append(Wanted("neurons", tuple(range(max(0, tower.layers - 1 - _NEURON_LAYERS), tower.layers - 1))))
    return groups_of(model, wanted)


def labelled(
    survey: Survey,
    model: Model,
    pool: Pool,
    embeddings: Any,
    again: bool = False,
    most: int | None = None,
    progress: bool | None = False,
) -> Survey:
    """The survey with labels: its own, or where it has none (or other words are asked for, again), made now and kept
    in memory alone. most: as in `Survey.label`."""
    beside = Survey(Beside(survey.shelf), survey.manifest, model)
    if survey.labelled and not again and "poles" in survey.labels:
        return beside
    table = label_run(beside, pool.texts, embeddings, SIZE, properties=kinds_of(pool), most=most, progress=progress)
    beside.shelf.put_table(LABELS, table)
    return beside


class ByName:
    """The images of a survey whose folder has changed: those that are still there are found by their names. said: what
    must be told of it."""

    def __init__(self, survey: Survey, source: ImageSource, why: str) -> None:
        self.label = source.label
        self._source, self._names = source, survey.images["name"].astype(str).to_dict()
        self._places = {source.name(index): index for index in range(len(source))}
        self._length = survey.manifest.images
        self.there = sum(name in self._places for name in self._names.values())
        self.said = f"{why}; {self.there:,} of {len(self._names):,} were found again by their names"

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        return self._names.get(index, "")

    def image(self, index: int) -> Image.Image:
        place = self._places.get(self.name(index))
        if place is None:
            raise OSError("it is no longer there")
        return self._source.image(place)

    def attributes(self) -> pd.DataFrame | None:
        return None


class Gone:
    """The images of a survey that nobody can read again. said: what must be told of it."""

    def __init__(self, survey: Survey, why: str) -> None:
        self.label, self._length = survey.manifest.source, survey.manifest.images
        self.said = f"{why}; the pages have no pictures"

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        return ""

    def image(self, index: int) -> Image.Image:
        raise OSError("it is no longer there")

    def attributes(self) -> pd.DataFrame | None:
        return None


def pictures_of(survey: Survey) -> ImageSource:
    """The survey's images, as far as they can be read again."""
    try:
        return survey.source()
    except SummandError as error:
        why, location = str(error), survey.manifest.location
    try:
        found = None if location is None else ByName(survey, open_source(location), why)
    except SummandError:
        found = None
    return Gone(survey, why) if found is None or not found.there else found


def layers_shown(model: Model, layers: int | Sequence[int] | None) -> tuple[int, ...]:
    """Layers whose heads have pages: which, how many of the last ones, or all."""
    every = range(model.tower.layers)
    if layers is None:
        return tuple(every)
    return tuple(every)[-layers:] if isinstance(layers, int) else tuple(sorted(layers))
