"""Mean-ablation: zero-shot accuracy when terms of the sum are replaced by their mean over a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data import ImageSource, Skipped
from ...data.labelled import Labelled
from ...errors import SummandError
from ...models import Model
from ...survey import Survey, engine
from ..zeroshot import predict
from .batch import Batch
from .remembered import remembered, remembers


@dataclass(frozen=True)
class Version:
    """One thing that was done to the representation.

    family: which experiment it belongs to (a panel of the figure). name: in words. series and x: the line it is a
    point of, and where; None where it stands alone.
    """

    family: str
    name: str
    series: str | None = None
    x: float | None = None


@runtime_checkable
class Family(Protocol):
    """A kind of ablation: `rounds` passes over the images that the means come from, then the ablated outputs."""

    rounds: int
    axis: str
    """What x is, for the figure."""

    def learn(self, turn: int, batch: Batch) -> None: ...

    def end(self, turn: int) -> None: ...

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Float[Tensor, "image embed"]]]: ...


@runtime_checkable
class Recalling(Protocol):
    """A family whose statistics a survey may hold already."""

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """Take what the survey knows of the family's units; False where it does not hold them."""
        ...


@runtime_checkable
class Direct(Protocol):
    """A family that may learn from the direct effects of heads, those of all MLPs together, and M(x) alone."""

    direct: bool


@dataclass(frozen=True)
class Row:
    """A version and its zero-shot accuracy; drop: accuracy of the model as it is, minus this one."""

    version: Version
    accuracy: float
    drop: float


@dataclass(frozen=True)
class Accuracies:
    """Zero-shot accuracy as it is (the base line) and of every version.

    axes: family → what its x is. guesses: the class that each version gives to each image, [version, image], the model
    as it is first, then in the order in which the families gave them; rows: by family; labels: the true ones, [image].
    """

    baseline: float
    rows: tuple[Row, ...]
    axes: dict[str, str]
    guesses: Int[np.ndarray, "version image"]
    labels: Int[np.ndarray, " image"]
    indices: Int[np.ndarray, " image"]
    skipped: tuple[Skipped, ...]
    versions: tuple[Version, ...] = ()
    """In the order of `guesses`, without the model as it is."""


def measure(
    model: Model,
    data: Labelled,
    weights: Float[Tensor, "class embed"],
    families: Sequence[Family],
    *,
    means: ImageSource | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> Accuracies:
    r"""M(x) − Σ_{u ∈ S} (φ_u(x) − φ̄_u) for the terms S of every version: accuracy of argmax_c ⟨·, t_c⟩.

    means: the images that φ̄ and all statistics are taken over; by default the labelled ones themselves. Everything is
    streamed: one pass for each round of statistics, one for the accuracy; nothing larger than [image, embed] is kept
    for a version, and only its class for each image. The terms are those of `decompose` (not divided by ‖M(x)‖, which
    the argmax does not see; the papers' means are of the divided ones). survey: of `means`; what it holds is not
    learnt again.

    Raises `SummandError` where the classifier and the labels differ in their classes, or no image can be read.
    Sources: paper C, section 3; paper A, section 4; paper B.
    """
    reading = {"batch_size": batch_size, "progress": progress}
    return measure_tasks(model, [data], [weights], families, means=means, survey=survey, **reading)[0]


def measure_tasks(
    model: Model,
    tasks: Sequence[Labelled],
    classifiers: Sequence[Float[Tensor, "_ embed"]],
    families: Sequence[Family],
    *,
    means: ImageSource | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
    survey: Survey | None = None,
) -> list[Accuracies]:
    """`measure` for several labellings of the same images, each with its classifier, in the passes of one."""
    for data, weights in zip(tasks, classifiers, strict=True):
        if len(weights) != len(data.classes):
            raise SummandError(
                f"the classifier has {len(weights)} classes, the labels have {len(data.classes)}; "
                "use the same names for both"
            )
    source = tasks[0].source
    if any(len(data) != len(source) or data.source.label != source.label for data in tasks):
        raise SummandError("these labellings are not of the same images")
    reference = source if means is None else means
    unknown = [family for family in families if survey is None or not _recalled(family, survey, model)]
    if survey is not None and remembers(survey, model):
        known = [family for family in unknown if isinstance(family, Direct) and family.direct]
        unknown = [family for family in unknown if family not in known]
        _learn(known, lambda _: remembered(survey, model, batch_size))
    _learn(unknown, lambda turn: read(model, reference, batch_size, f"statistics {turn + 1}", progress))
    skipped: list[Skipped] = []
    indices: list[int] = []
    found: dict[Version | None, list[list[Tensor]]] = {}
    axes: dict[str, str] = {}

    def count(version: Version | None, outputs: Tensor) -> None:
        guessed = [predict(outputs, weights).cpu() for weights in classifiers]
        found.setdefault(version, []).append(guessed)

    for batch in read(model, source, batch_size, "accuracy", progress, skipped):
        indices += batch.indices
        count(None, batch.total)
        for family in families:
            for version, outputs in family.versions(batch):
                axes[version.family] = family.axis
                count(version, outputs.to(batch.total))
    results = []
    for task, data in enumerate(tasks):
        guesses = np.stack([torch.cat([guessed[task] for guessed in rows]).numpy() for rows in found.values()])
        results.append(_scored(data, list(found), guesses, np.array(indices), axes, tuple(skipped)))
    return results


def _learn(families: Sequence[Family], batches: Callable[[int], Iterable[Batch]]) -> None:
    """All rounds of these families, each over batches of its own."""
    for turn in range(max((family.rounds for family in families), default=0)):
        learning = [family for family in families if turn < family.rounds]
        for batch in batches(turn):
            for family in learning:
                family.learn(turn, batch)
        for family in learning:
            family.end(turn)


def _recalled(family: Family, survey: Survey, model: Model) -> bool:
    return isinstance(family, Recalling) and family.recall(survey, model.device)


def _scored(
    data: Labelled,
    versions: Sequence[Version | None],
    guesses: Int[np.ndarray, "version image"],
    indices: Int[np.ndarray, " image"],
    axes: dict[str, str],
    skipped: tuple[Skipped, ...],
) -> Accuracies:
    labels = data.labels[indices]
    right = (guesses == labels).mean(axis=1)
    rows = [
        Row(version, float(share), float(right[0] - share))
        for version, share in zip(versions, right, strict=True)
        if version is not None
    ]
    order = list(axes)
    rows.sort(key=lambda row: order.index(row.version.family))
    made = tuple(version for version in versions if version is not None)
    return Accuracies(float(right[0]), tuple(rows), axes, guesses, labels, indices, skipped, made)


def read(
    model: Model,
    source: ImageSource,
    batch_size: int,
    what: str,
    progress: bool | None,
    skipped: list[Skipped] | None = None,
) -> Iterator[Batch]:
    """A source as batches on the model's device. Raises `SummandError` where not one image can be read."""
    for batch in engine.read(model, source, batch_size, what=what, progress=progress, skipped=skipped):
        yield Batch(model, batch.pixels, batch.indices)
