"""The one loop over reference data: batches through the model, their effects to whoever keeps something of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..data import ImageSource, Skipped
from ..data.sources import read_batch
from ..errors import SummandError
from ..models import Model, pixels_of
from ..progress import Progress
from .batch import Batch
from .stopping import asked_to_stop
from .units import Group

Arrays = dict[str, np.ndarray]


@runtime_checkable
class Consumer(Protocol):
    """Keeps something of a pass.

    groups: the units whose effects it reads. stages: in which stages of the pass it takes part; one that needs a mean
    over all images takes part in a stage after that of the mean.
    """

    groups: tuple[Group, ...]
    stages: tuple[int, ...]

    def update(self, batch: Batch) -> None: ...

    def merge(self, other: Any) -> None:
        """Take in what another of its kind has seen, of other images."""
        ...

    def state(self) -> Arrays:
        """All that it knows; empty before the first image."""
        ...

    def restore(self, state: Arrays) -> None:
        """Know what `state` said, and nothing else."""
        ...


@dataclass(frozen=True)
class Stage:
    """One time through some images of a source. again: they have been read before; those that could not be are left
    out."""

    name: str
    indices: np.ndarray
    again: bool = False


@dataclass
class Position:
    """How far a pass is. stage, position: so many images of that stage are done; passed: of all stages. unreadable: the
    numbers of images that were skipped. residual: |Σ − encode_image| of the first batch, relative."""

    stage: int = 0
    position: int = 0
    passed: int = 0
    seconds: float = 0.0
    residual: float | None = None
    unreadable: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@runtime_checkable
class Keeper(Protocol):
    """Keeps a pass that is stopped, or killed, from being lost."""

    def load(self, consumers: Mapping[str, Consumer]) -> Position: ...

    def save(self, position: Position, consumers: Mapping[str, Consumer], changed: Sequence[str]) -> None: ...

    saved: str
    """What is said when a pass was asked to stop."""


def passes(
    model: Model,
    source: ImageSource,
    consumers: Mapping[str, Consumer],
    stages: Sequence[Stage],
    *,
    batch_size: int = 64,
    what: str = "survey",
    progress: bool | None = None,
    keeper: Keeper | None = None,
    every: float = 60.0,
    least: int = 1,
    among: str = "",
) -> Position:
    """Hand every batch of every stage to the consumers that take part in it, whose effects are of one forward pass.

    A file that cannot be read is skipped. keeper: where states are saved every `every` seconds (0: after every batch),
    at most a twentieth of the time, and when the process is asked to stop (then a KeyboardInterrupt follows); what it
    holds is gone on with. least: images (among: which) that must be readable in the first stage, else `SummandError`.
    """
    at = keeper.load(consumers) if keeper is not None else Position()
    began, changed = time.monotonic() - at.seconds, set[str]()
    clock = _Clock(every)

    def save() -> None:
        at.seconds = time.monotonic() - began
        if keeper is not None:
            with clock:
                keeper.save(at, consumers, sorted(changed))
        changed.clear()

    bar = Progress(what, sum(len(stage.indices) for stage in stages), "images", progress, done=at.passed)
    with bar, asked_to_stop() if keeper is not None else _never() as stopping:
        while at.stage < len(stages):
            stage = stages[at.stage]
            taking = {name: each for name, each in consumers.items() if at.stage in each.stages}
            groups = tuple(dict.fromkeys(group for each in taking.values() for group in each.groups))
            bar.stage(f"{what}, {stage.name}" if len(stages) > 1 else what)
            plan = stage.indices[~np.isin(stage.indices, at.unreadable)] if stage.again else stage.indices
            while at.position < len(plan):
                some = plan[at.position : at.position + batch_size].tolist()
                batch = _read(model, source, some, groups, at.skipped)
                if not stage.again:
                    at.unreadable += sorted(set(some) - set(batch.indices if batch else ()))
                if batch:
                    at.residual = batch.parts.residual() if at.residual is None else at.residual
                    for each in taking.values():
                        each.update(batch)
                changed.update(taking)
                at.position, at.passed = at.position + len(some), at.passed + len(some)
                bar.update(len(some))
                if keeper is not None and (stopping.is_set() or clock.due()):
                    save()
                if stopping.is_set():
                    print(f"{what}: {keeper.saved if keeper is not None else 'stopped'}", file=sys.stderr, flush=True)
                    raise KeyboardInterrupt
            if at.stage == 0:
                check_read(source, len(plan) - len(at.unreadable), at.skipped, least, among)
            at.stage, at.position = at.stage + 1, 0
    at.seconds = time.monotonic() - began
    return at


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
        for start in range(0, len(source), batch_size):
            some = range(start, min(start + batch_size, len(source)))
            batch = _read(model, source, some, groups, skipped)
            if batch:
                seen += len(batch)
                yield batch
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


def _read(
    model: Model, source: ImageSource, indices: Sequence[int], groups: Sequence[Group], skipped: list[Skipped]
) -> Batch | None:
    found = read_batch(source, indices, skipped)
    return Batch(model, found.indices, pixels_of(model, found.images), groups) if found.indices else None


_SHARE = 20  # at most a twentieth of the time goes into saving


class _Clock:
    """When to save next."""

    def __init__(self, every: float) -> None:
        self.every, self._last, self._cost = every, time.monotonic(), 0.0

    def due(self) -> bool:
        wait = max(self.every, _SHARE * self._cost) if self.every else 0.0
        return time.monotonic() - self._last >= wait

    def __enter__(self) -> None:
        self._last = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._cost, self._last = time.monotonic() - self._last, time.monotonic()


class _never:
    """Nobody asks to stop: an interrupt is one."""

    def __enter__(self) -> threading.Event:
        return threading.Event()

    def __exit__(self, *error: object) -> None:
        return None
