"""The one loop over reference data: batches through the model, their effects to whoever keeps something of them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..data import ImageSource
from ..data.loader import Loaded
from ..errors import SummandError, listed
from ..models import Model
from ..models.prepared import on_device
from ..progress import Progress
from .batch import Arrays as Arrays
from .batch import Batch as Batch
from .batch import Consumer as Consumer
from .batch import batches_of, check_read
from .batch import read as read
from .position import Position as Position
from .position import Shard as Shard
from .stopping import Clock, asked_to_stop, never
from .units import Group


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
    check: Callable[[Position], None] = lambda at: None,
) -> Position:
    """Hand every batch of every stage to the consumers that take part in it, whose effects are of one forward pass.

    A file that cannot be read is skipped. keeper: where what was found is committed, shard by shard, every `every`
    seconds (0: after every batch), at most a twentieth of the time, and when the process is asked to stop (then a
    KeyboardInterrupt follows); what it holds is not passed again. least: images (among: which) that must be readable in
    the first stage, else `SummandError`. check: asked after every part that is done; may raise.
    """
    bar = Progress(what, sum(len(stage.indices) for stage in stages), "images", progress)
    with asked_to_stop() if keeper is not None else never() as stopping:
        run = _Passes(model, source, consumers, stages, batch_size, bar, keeper, Clock(every), stopping, check)
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
    clock: Clock
    stopping: threading.Event
    check: Callable[[Position], None]
    at: Position = field(default_factory=Position)
    pending: list[tuple[Shard, dict[str, Consumer]]] = field(default_factory=list)
    most: int = 1 << 30
    """Images a batch at most, since the memory holds no more."""

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
        shard, part, began = Shard(number, start, start), self._part(taking), time.monotonic()
        for end, found in self._loaded(number, start, stop):
            self._take(shard, end, found, part)
            if self.stopping.is_set() or (self.keeper is not None and self.clock.due()) or end == stop:
                shard.seconds = time.monotonic() - began
                self._close(shard, part, taking)
                shard, part, began = Shard(number, end, end), self._part(taking), time.monotonic()

    def _part(self, taking: dict[str, Consumer]) -> dict[str, Consumer]:
        return taking if self.keeper is None else {name: each.fresh() for name, each in taking.items()}

    def _close(self, shard: Shard, part: dict[str, Consumer], taking: Mapping[str, Consumer]) -> None:
        """What a part found goes to the whole, and to the keeper where it is time."""
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
        try:
            self.check(self.at)
        except SummandError:
            self._commit()
            raise

    def _loaded(self, number: int, start: int, stop: int) -> Iterator[tuple[int, Loaded]]:
        """Batch by batch; how far the stage is behind each."""
        stage = self.stages[number]
        ends = [min(at + self.batch_size, stop) for at in range(start, stop, self.batch_size)]
        plan = [stage.indices[at:end] for at, end in zip([start, *ends], ends, strict=False)]
        if stage.again:
            plan = [some[~np.isin(some, self.at.unreadable)] for some in plan]
        return zip(ends, batches_of(self.model, self.source, [some.tolist() for some in plan]), strict=True)

    def _take(self, shard: Shard, end: int, found: Loaded, part: Mapping[str, Consumer]) -> None:
        stage = self.stages[shard.stage]
        groups = dict.fromkeys(group for each in part.values() for group in each.groups)
        shard.skipped += found.skipped
        if not stage.again:
            asked = stage.indices[shard.stop : end].tolist()
            shard.unreadable += sorted(set(asked) - set(found.indices))
        if found.pixels is not None:
            for batch in self._fitting(found.indices, found.pixels, tuple(groups)):
                if self.at.residual is None and shard.residual is None:
                    shard.residual = batch.parts.residual()
                try:
                    for each in part.values():
                        each.update(batch)
                except SummandError as error:
                    raise self._named(error, batch) from error
        self.bar.update(end - shard.stop)
        shard.stop = end

    def _fitting(self, indices: list[int], pixels: Tensor, groups: tuple[Group, ...]) -> Iterator[Batch]:
        """In batches that the memory of the device holds: they are halved where it runs out, which is said."""
        at = 0
        while at < len(indices):
            some = slice(at, at + self.most)
            batch = Batch(self.model, indices[some], on_device(self.model, pixels[some]), groups)
            try:
                batch.make()
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self.most = len(batch) // 2
                torch.cuda.empty_cache()
                print(f"{self.bar.name}: out of memory; {self.most} images at a time from here on", file=sys.stderr)
                continue
            yield batch
            at += len(batch)

    def _named(self, error: SummandError, batch: Batch) -> SummandError:
        """The same error with the images whose output is not finite."""
        with torch.no_grad():
            bad = ~torch.isfinite(self.model.clip.encode_image(batch.pixels)).all(dim=1)
        names = [self.source.name(batch.indices[i]) for i in bad.nonzero()[:, 0].tolist()]
        return type(error)(f"{error}: of {listed(names, most=5)}") if names else error

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
