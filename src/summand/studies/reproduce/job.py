"""A row at work: its models, its images and what rows of one run share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...data.labelled import Labelled, open_labelled
from ...data.sources import ImageSource, Some, open_source
from ...models import Model
from ...survey import Survey
from ...survey.make import survey
from ...text.pools import pool as read_pool
from ..ablation.accuracy import Family, Version, measure_tasks
from ..given import readable_pool
from ..zeroshot import classifier_of
from . import sets
from .options import ReproduceOptions
from .row import Row, Weights

Made = TypeVar("Made")
SCENES = 1000
"""Scenes of each set, unless `count` says otherwise."""
_TEST, _USUAL = 1801, 1802  # seeds
_SHARE = 0.02  # of the images, whose largest effects r_n is made from (paper A: 100 of 5,124)


@dataclass(frozen=True)
class Runs:
    """Zero-shot accuracies in per cent: the share of the images that are right in every task. base: of the model as it
    is; accuracies: of each version."""

    base: float
    versions: tuple[Version, ...]
    accuracies: tuple[float, ...]

    def of(self, name: str, x: float | None = None) -> float:
        """The version of a name, or a series' at x."""
        made = zip(self.versions, self.accuracies, strict=True)
        (found,) = [
            value for one, value in made if (one.name == name if x is None else (one.series, one.x) == (name, x))
        ]
        return found

    def line(self, series: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """x and accuracy of a series."""
        made = zip(self.versions, self.accuracies, strict=True)
        points = sorted((one.x, value) for one, value in made if one.series == series and one.x is not None)
        return tuple(float(x) for x, _ in points), tuple(value for _, value in points)


@dataclass
class Job:
    """A row with what it is given. load: a model by its name and tag. models_given: models to be used in the place of
    the row's. memo: what rows of the same run share. folder: where surveys are kept and gone on with; None: nowhere."""

    row: Row
    options: ReproduceOptions
    load: Callable[[Weights], Model]
    memo: dict[Any, Any]
    folder: Path | None = None
    given: Model | None = None

    @property
    def scenes(self) -> bool:
        return self.options.on == "scenes"

    @property
    def weights(self) -> tuple[Weights, ...]:
        """The models of this run: the paper's, or those of the scenes."""
        if self.given is not None:
            return (Weights(self.given.name),)
        return tuple(map(Weights, self.row.on_scenes)) if self.scenes else self.row.models

    def models(self) -> Iterator[tuple[str, Model]]:
        """What begins the names of a model's numbers ("" where there is one alone), and the model."""
        several = len(self.row.models) > 1
        for weights in self.weights:
            yield f"{weights.name} " if several else "", self.model(weights)

    def model(self, weights: Weights | None = None) -> Model:
        """One model; by default the first."""
        if self.given is not None:
            return self.given
        weights = weights or self.weights[0]
        return self.once(("model", weights), lambda: self.load(weights))

    def once(self, key: Any, make: Callable[[], Made]) -> Made:
        """What `make` makes, once for all rows of the run."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def path(self, name: str) -> Path:
        """A data set that the row needs. Raises `SummandError` where it was not given, or is laid out otherwise."""
        need = sets.NEEDS[name]
        path = self.options.places().get(name)
        if path is None:
            raise need.missing(self.row.id)
        return need.check(path)

    def count(self, usual: int = SCENES) -> int:
        """How many scenes are used."""
        return self.options.count or usual

    def tasks(self, every: int = 1) -> list[Labelled]:
        """Labelled test images: of ImageNet's validation every so-many-th; of scenes one labelling an attribute."""
        if self.scenes:
            source = sets.scenes(self.count(), _TEST)
            return [open_labelled(source, attribute) for attribute in sets.ATTRIBUTES]
        whole = sets.imagenet(self.path("imagenet-val"), self.options.classes)
        return [sets.at_most(sets.strided(whole, every), self.options.count)]

    def usual(self) -> ImageSource:
        """What means and directions are learnt from in paper A: every 250th training image, or other scenes."""
        if self.scenes:
            return open_source(sets.scenes(self.count(), _USUAL))
        whole = sets.imagenet(self.path("imagenet-train"), self.options.classes)
        return sets.at_most(sets.strided(whole, 250), self.options.count).source

    def usual_of_pool(self) -> ImageSource:
        """The same in paper B: 1,000 images that are not scored."""
        if self.scenes:
            return self.usual()
        whole = sets.imagenet(self.path("imagenet-val"), self.options.classes)
        return sets.at_most(sets.strided(whole, 50, start=5), self.options.count or 1000).source

    def runs(
        self,
        model: Model,
        families: Sequence[Family],
        *,
        every: int = 1,
        means: ImageSource | None = None,
        survey: Survey | None = None,
        tasks: list[Labelled] | None = None,
    ) -> Runs:
        """Accuracies of every version of the families, by `measure_tasks`."""
        tasks = tasks or self.tasks(every)
        weights = [classifier_of(model, task, self.options.templates) for task in tasks]
        reading = {"batch_size": self.options.batch_size, "progress": None, "means": means, "survey": survey}
        made = measure_tasks(model, tasks, weights, families, **reading)
        right = np.all([one.guesses == task.labels[one.indices] for one, task in zip(made, tasks, strict=True)], axis=0)
        shares = 100 * right.mean(axis=1)
        return Runs(float(shares[0]), made[0].versions, tuple(shares[1:].tolist()))

    def survey(self, model: Model, units: str, source: ImageSource, share: bool = True) -> Survey:
        """What is usual of units over images; kept in the folder of the run, where it is gone on with. share: with the
        other rows of the run, which keeps it in memory where there is no folder."""

        def make() -> Survey:
            size = max(1, -(-len(source) * 2 // 100))
            name = f"{model.name}-{units}-{len(source)}".replace("/", "-").replace(":", "-").replace(",", "-")
            out = None if self.folder is None or self.scenes else self.folder / "surveys" / name
            asked: dict[str, Any] = {"units": units, "out": out, "top": size, "held_out": 0.0}
            return survey(model, source, batch_size=self.options.batch_size, **asked)

        return self.once(("survey", model.name, units, source.label, len(source)), make) if share else make()

    def pool(self, usual: str, model: Model) -> Any:
        """The pool of texts: the file that was given, on scenes that of the scenes."""
        if self.scenes and self.options.pool is None:
            return readable_pool(model, "scenes")[0]
        return readable_pool(model, Path(self.options.pool) if self.options.pool else read_pool(usual).texts)[0]


def joined(parts: Sequence[Runs]) -> Runs:
    """Runs over the same images as one."""
    versions = tuple(version for part in parts for version in part.versions)
    return Runs(parts[0].base, versions, tuple(value for part in parts for value in part.accuracies))


def some(source: ImageSource, count: int) -> ImageSource:
    """At most so many images of a source."""
    if count >= len(source):
        return source
    return Some(source, np.linspace(0, len(source) - 1, count).round().astype(int))
