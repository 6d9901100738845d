"""The one loop over reference data: batches through the model, their effects to whoever keeps something of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from ..data import ImageSource
from ..data.loader import Loaded
from ..errors import SummandError
from ..models import Model
from ..progress import Progress
from .batch import Arrays as Arrays
from .batch import Batch as Batch
from .batch import Consumer as Consumer
from .batch import batches_of, check_read
from .batch import read as read
from .mapper import Mapper
from .position import Position as Position
from .position import Shard as Shard
from .position import Stage as Stage
from .stopping import Clock, asked_to_stop, never


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


@runtime_checkable
class Elsewhere(Protocol):
    """Where a stage is computed that is not computed in this process."""

    def shards(
        self, number: int, stage: Stage, start: int, stop: int, consumers: Mapping[str, Consumer], left: Sequence[int]
    ) -> Iterator[tuple[Shard, dict[str, Arrays]]]:
        """Parts of a range of a stage's images, in any order, with the states of the consumers that take part. left:
        images that could not be read before, and are left out."""
        ...


_LARGE = 256 << 20
"""Bytes of rows, one an image, above which a part goes to the disk before its time."""


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
    check: Callable[[Position], None] = lambda at: None,
    where: Mapper | Elsewhere | None = None,
) -> Position:
    """Hand every batch of every stage to the consumers that take part in it, whose effects are of one forward pass.

    A file that cannot be read is skipped. keeper: where what was found is committed, shard by shard, every `every`
    seconds (0: after every batch), at most a twentieth of the time, and when the process is asked to stop (then a
    KeyboardInterrupt follows); what it holds is not passed again. least: images (among: which) that must be readable in
    the first stage, else `SummandError`. check: asked after every part that is done; may raise. where: on several
    devices or machines; None: on the model's.
    """
    bar = Progress(what, sum(len(stage.indices) for stage in stages), "images", progress)
    where = Mapper(model, source.name, what) if where is None else where
    with asked_to_stop() if keeper is not None else never() as stopping:
        run = _Passes(model, source, consumers, stages, batch_size, bar, keeper, Clock(every), stopping, check, where)
        run.resume()
        with bar:
            for number, stage in enumerate(stages):
                bar.stage(f"{what}, {stage.name}" if len(stages) > 1 else what)
                run.pass_through(number)
                if number == 0:
                    unread = int(np.isin(stage.indices, run.at.unreadable).sum())
                    check_read(source, len(stage.indices) - unread, run.at.skipped, least, among)
        run.hand_over()
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
    clock: Clock
    stopping: threading.Event
    check: Callable[[Position], None]
    where: Mapper | Elsewhere
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
                if not _streamed(each):
                    assert self.keeper is not None
                    part = each.fresh()
                    part.restore(self.keeper.state(shard, name))
                    each.merge(part)
        if isinstance(self.where, Mapper):
            self.where.stage(number, self.consumers)
        for start, stop in _between(done, len(stage.indices)):
            if isinstance(self.where, Elsewhere):
                self._pass_elsewhere(self.where, number, start, stop, taking)
            else:
                self._pass_range(self.where, number, start, stop, taking)

    def _pass_range(self, mapper: Mapper, number: int, start: int, stop: int, taking: dict[str, Consumer]) -> None:
        """In parts: what is committed of each is what its consumers know of it alone."""
        shard, began = self._begin(mapper, number, start, taking)
        stage, measured = self.stages[number], self.at.residual is not None
        for end, found in self._loaded(number, start, stop):
            asked = stage.indices[shard.stop : end].tolist()
            mapper.take(shard, asked, found, again=stage.again, measure=not measured)
            self.bar.update(end - shard.stop)
            shard.stop = end
            due = self.keeper is not None and (self.clock.due() or mapper.nbytes > _LARGE)
            if self.stopping.is_set() or due or end == stop:
                part = mapper.end(shard)
                shard.seconds = time.monotonic() - began
                self._close(shard, part, taking)
                shard, began = self._begin(mapper, number, end, taking)
                measured = self.at.residual is not None

    def _begin(self, mapper: Mapper, number: int, at: int, taking: dict[str, Consumer]) -> tuple[Shard, float]:
        mapper.begin(taking if self.keeper is None else {name: each.fresh() for name, each in taking.items()})
        return Shard(number, at, at), time.monotonic()

    def _pass_elsewhere(
        self, where: Elsewhere, number: int, start: int, stop: int, taking: dict[str, Consumer]
    ) -> None:
        """In parts as they come back, in any order."""
        left = self.at.unreadable if self.stages[number].again else []
        for shard, states in where.shards(number, self.stages[number], start, stop, self.consumers, left):
            part = {name: each.fresh() for name, each in taking.items()}
            for name, each in part.items():
                each.restore(states.get(name, {}))
            self.bar.update(shard.stop - shard.start)
            self._close(shard, part, taking)

    def _close(self, shard: Shard, part: dict[str, Consumer], taking: Mapping[str, Consumer]) -> None:
        """What a part found goes to the whole, and to the keeper where it is time."""
        self.at.take(shard)
        if self.keeper is not None:
            self.pending.append((shard, part))
            if self.stopping.is_set() or self.clock.due() or _held(self.pending) > _LARGE:
                self._commit()
        for name, each in part.items():
            if each is not taking[name] and not (self.keeper is not None and _streamed(each)):
                taking[name].merge(each)
        if self.stopping.is_set():
            saved = self.keeper.saved if self.keeper is not None else "stopped"
            print(f"{self.bar.name}: {saved}", file=sys.stderr, flush=True)
            raise KeyboardInterrupt
        try:
            self.check(self.at)
        except SummandError:
            self._commit()
            raise

    def hand_over(self) -> None:
        """Rows that did not go to the disk are the consumers'."""
        for _, part in self.pending:
            for name, each in part.items():
                if _streamed(each):
                    self.consumers[name].merge(each)

    def _loaded(self, number: int, start: int, stop: int) -> Iterator[tuple[int, Loaded]]:
        """Batch by batch; how far the stage is behind each."""
        stage = self.stages[number]
        ends = [min(at + self.batch_size, stop) for at in range(start, stop, self.batch_size)]
        plan = [stage.indices[at:end] for at, end in zip([start, *ends], ends, strict=False)]
        if stage.again:
            plan = [some[~np.isin(some, self.at.unreadable)] for some in plan]
        return zip(ends, batches_of(self.model, self.source, plan), strict=True)

    def _commit(self) -> None:
        with self.clock:
            while self.pending:
                assert self.keeper is not None
                self.keeper.commit(*self.pending[0])
                self.pending.pop(0)


def _streamed(consumer: Consumer) -> bool:
    """Whether its rows are on the disk, and nowhere else, once they are committed."""
    return getattr(consumer, "streamed", False)


def _held(pending: Sequence[tuple[Shard, Mapping[str, Consumer]]]) -> int:
    return sum(getattr(each, "nbytes", 0) for _, part in pending for each in part.values())


def _between(done: Sequence[Shard], length: int) -> list[tuple[int, int]]:
    """The ranges of a plan that no shard holds.

    >>> _between([Shard(0, 2, 5), Shard(0, 5, 6)], 10)
    [(0, 2), (6, 10)]
    """
    edges = [0, *(edge for shard in done for edge in (shard.start, shard.stop)), length]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]
