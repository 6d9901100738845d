"""Images that go through the model together, and whoever keeps something of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..data import ImageSource, Skipped
from ..data.loader import Loaded, Some, fitting, loaded
from ..effects.direct import Parts
from ..effects.effects import Effects
from ..errors import SummandError
from ..models import Model
from ..models.prepared import on_device
from ..progress import Progress
from ..towers.precision import doubled
from .units import Group, effects_of

Arrays = dict[str, np.ndarray]


class Batch:
    """Images that go through the model together. What is made of them is made when it is asked for, and once.

    indices: each image's number in its source. pixels: as the model takes them.
    """

    def __init__(self, model: Model, indices: Sequence[int], pixels: Tensor, groups: Sequence[Group] = ()) -> None:
        self.model, self.indices, self.pixels, self.groups = model, list(indices), pixels, tuple(groups)

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def _made(self) -> tuple[dict[Group, Effects], Parts]:
        return effects_of(self.groups, self.model, self.pixels)

    def make(self) -> None:
        """Everything of the forward pass, now."""
        _ = self._made

    def effects(self, group: Group) -> Effects:
        """Of one of the groups that the pass is about; all groups share one forward pass."""
        return self._made[0][group]

    @property
    def parts(self) -> Parts:
        return self._made[1]

    @cached_property
    def outputs(self) -> Float[Tensor, "image embed"]:
        """M(x), as the sum of all terms."""
        return self.parts.total()

    @cached_property
    def norms(self) -> Float[Tensor, " image"]:
        """‖M(x)‖."""
        return doubled(self.outputs).norm(dim=1)

    @cached_property
    def embeddings(self) -> Float[Tensor, "image embed"]:
        """M(x) / ‖M(x)‖, in fp64."""
        return doubled(self.outputs) / self.norms[:, None].clamp(min=torch.finfo(torch.float64).tiny)


@runtime_checkable
class Consumer(Protocol):
    """Keeps something of a pass.

    groups: the units whose effects it reads. stages: in which stages of the pass it takes part; one that needs a mean
    over all images takes part in a stage after that of the mean.
    """

    groups: tuple[Group, ...]
    stages: tuple[int, ...]

    def update(self, batch: Batch) -> None: ...

    def fresh(self) -> Consumer:
        """Another of its kind that has seen nothing, to be merged with it later."""
        ...

    def merge(self, other: Any) -> None:
        """Take in what another of its kind has seen, of other images."""
        ...

    def state(self) -> Arrays:
        """All that it knows; empty before the first image."""
        ...

    def restore(self, state: Arrays) -> None:
        """Know what `state` said, and nothing else."""
        ...


def read(
    model: Model,
    source: ImageSource,
    batch_size: int = 64,
    groups: Sequence[Group] = (),
    *,
    what: str = "images",
    progress: bool | None = None,
    skipped: list[Skipped] | None = None,
    least: int = 1,
) -> Iterator[Batch]:
    """One time through a source, for what is no statistic of reference data. Files that cannot be read are added to
    `skipped`; raises `SummandError` where fewer than `least` can be."""
    skipped, seen = [] if skipped is None else skipped, 0
    with Progress(what, len(source), "images", progress) as bar:
        plan = [range(start, min(start + batch_size, len(source))) for start in range(0, len(source), batch_size)]
        for some, found in zip(plan, batches_of(model, source, plan), strict=True):
            skipped += found.skipped
            if found.pixels is not None:
                seen += len(found.indices)
                yield Batch(model, found.indices, on_device(model, found.pixels), groups)
            bar.update(len(some))
    check_read(source, seen, skipped, least)


def check_read(source: ImageSource, seen: int, skipped: Sequence[Skipped], least: int, among: str = "") -> None:
    """Raise `SummandError` where fewer than `least` images could be read."""
    if seen < least:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:3])
        raise SummandError(
            f"{source.label}: {among}only {seen} could be read, at least {least} are needed"
            + (f" ({reasons})" if reasons else "")
        )


def batches_of(model: Model, source: ImageSource, plan: Sequence[Some]) -> Iterator[Loaded]:
    """The pixels of every batch of a plan, read by as many processes as `workers` says or as fit."""
    count = fitting(source, sum(len(some) for some in plan), model.device.type)
    return loaded(source, plan, model.prepared, count=count)
