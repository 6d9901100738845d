"""The one loop over reference data: batches through the model, their effects to whoever keeps something of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from ..data import ImageSource
from ..models import Model
from ..progress import Progress
from .batch import Arrays as Arrays
from .batch import Batch as Batch
from .batch import Consumer as Consumer
from .batch import check_read, read_one
from .batch import read as read
from .position import Position as Position
from .position import Shard as Shard
from .stopping import asked_to_stop


@dataclass(frozen=True)
class Stage:
    """One time through some images of a source. again: they have been read before; those that could not be are left
    out."""

    name: str
    indices: np.ndarray
    again: bool = False


@runtime_checkable
class Keeper(Protocol):
    """Keeps a pass that is stopped, or killed, from being lost."""

    def done(self, stage: int) -> list[Shard]:
        """The shards of a stage that need not be passed again, in order, none of which overlap."""
        ...

    def state(self, shard: Shard, name: str) -> Arrays:
        """What a consumer knew of the images of one of them."""
        ...

    def commit(self, shard: Shard, consumers: Mapping[str, Consumer]) -> None:
        """Keep what the consumers know of a shard, and of nothing else."""
        ...

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

    A file that cannot be read is skipped. keeper: where what was found is committed, shard by shard, every `every`
    seconds (0: after every batch), at most a twentieth of the time, and when the process is asked to stop (then a
    KeyboardInterrupt follows); what it holds is not passed again. least: images (among: which) that must be readable in
    the first stage, else `SummandError`.
    """
    bar = Progress(what, sum(len(stage.indices) for stage in stages), "images", progress)
    with asked_to_stop() if keeper is not None else _never() as stopping:
        run = _Passes(model, source, consumers, stages, batch_size, bar, keeper, _Clock(every), stopping)
        run.resume()
        with bar:
            for number, stage in enumerate(stages):
                bar.stage(f"{what}, {stage.name}" if len(stages) > 1 else what)
                run.pass_through(number)
                if number == 0:
                    unread = int(np.isin(stage.indices, run.at.unreadable).sum())
                    check_read(source, len(stage.indices) - unread, run.at.skipped, least, among)
    return run.at


@dataclass
class _Passes:
    """The images of every stage that no shard of the keeper's holds yet, batch by batch."""

    model: Model
    source: ImageSource
    consumers: Mapping[str, Consumer]
    stages: Sequence[Stage]
    batch_size: int
    bar: Progress
    keeper: Keeper | None
    clock: _Clock
    stopping: threading.Event
    at: Position = field(default_factory=Position)
    pending: list[tuple[Shard, dict[str, Consumer]]] = field(default_factory=list)

    def resume(self) -> None:
        """What the keeper holds counts as done."""
        for number in range(len(self.stages)) if self.keeper is not None else ():
            for shard in self._done(number):
                self.at.take(shard)
        self.bar.begin(self.at.passed)

    def _done(self, stage: int) -> list[Shard]:
        return [] if self.keeper is None else self.keeper.done(stage)

    def pass_through(self, number: int) -> None:
        stage = self.stages[number]
        taking = {name: each for name, each in self.consumers.items() if number in each.stages}
        done = self._done(number)
        for shard in done:
            for name, each in taking.items():
                assert self.keeper is not None
                part = each.fresh()
                part.restore(self.keeper.state(shard, name))
                each.merge(part)
        for start, stop in _between(done, len(stage.indices)):
            self._pass_range(number, start, stop, taking)

    def _pass_range(self, number: int, start: int, stop: int, taking: dict[str, Consumer]) -> None:
        """In parts: what is committed of each is what its consumers know of it alone."""
        at = start
        while at < stop:
            part = taking if self.keeper is None else {name: each.fresh() for name, each in taking.items()}
            shard, began = Shard(number, at, at), time.monotonic()
            while shard.stop < stop:
                self._pass_batch(shard, min(shard.stop + self.batch_size, stop), part)
                if self.keeper is not None and (self.stopping.is_set() or self.clock.due()):
                    break
                if self.stopping.is_set():
                    break
            shard.seconds, at = time.monotonic() - began, shard.stop
            self.at.take(shard)
            if self.keeper is not None:
                self.pending.append((shard, part))
                if self.stopping.is_set() or self.clock.due():
                    self._commit()
                for name, each in part.items():
                    taking[name].merge(each)
            if self.stopping.is_set():
                saved = self.keeper.saved if self.keeper is not None else "stopped"
                print(f"{self.bar.name}: {saved}", file=sys.stderr, flush=True)
                raise KeyboardInterrupt

    def _pass_batch(self, shard: Shard, stop: int, part: Mapping[str, Consumer]) -> None:
        stage, plan = self.stages[shard.stage], self.stages[shard.stage].indices[shard.stop : stop]
        some = (plan[~np.isin(plan, self.at.unreadable)] if stage.again else plan).tolist()
        groups = tuple(dict.fromkeys(group for each in part.values() for group in each.groups))
        batch = read_one(self.model, self.source, some, groups, shard.skipped) if some else None
        if not stage.again:
            shard.unreadable += sorted(set(some) - set(batch.indices if batch else ()))
        if batch:
            if self.at.residual is None and shard.residual is None:
                shard.residual = batch.parts.residual()
            for each in part.values():
                each.update(batch)
        shard.stop = stop
        self.bar.update(len(plan))

    def _commit(self) -> None:
        with self.clock:
            while self.pending:
                assert self.keeper is not None
                self.keeper.commit(*self.pending[0])
                self.pending.pop(0)


def _between(done: Sequence[Shard], length: int) -> list[tuple[int, int]]:
    """The ranges of a plan that no shard holds.

    >>> _between([Shard(0, 2, 5), Shard(0, 5, 6)], 10)
    [(0, 2), (6, 10)]
    """
    edges = [0, *(edge for shard in done for edge in (shard.start, shard.stop)), length]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]


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
