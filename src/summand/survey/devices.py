"""Several devices of one machine: batches are dealt to them in turn; where a part ends, what they found is merged."""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..data.loader import Loaded
from ..errors import SummandError
from ..models import Model
from .batch import Consumer
from .keeping import Keeping, asked
from .mapper import Mapper
from .position import Shard

_AHEAD = 2  # batches that wait for a device
Task = Callable[[Mapper], None]


def devices_of(device: str | Sequence[str]) -> list[str]:
    """`cuda:0,cuda:1` as a list; `auto` is every GPU, or what one device would be.

    >>> devices_of("cpu"), devices_of("cuda:0, cuda:1")
    (['cpu'], ['cuda:0', 'cuda:1'])
    """
    if not isinstance(device, str):
        return [str(one) for one in device]
    found = [one.strip() for one in device.split(",")]
    if not all(found):
        raise SummandError(f"--device names devices with commas between, such as cuda:0,cuda:1; got {device!r}")
    if found == ["auto"] and torch.cuda.device_count() > 1:
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return found


class Devices(Mapper):
    """A thread a device. The first is the model's own; the others have a copy of it, and consumers of their own."""

    def __init__(
        self, model: Model, name: Callable[[int], str], devices: Sequence[str], keeping: Keeping, what: str = "survey"
    ) -> None:
        super().__init__(model, name, what)
        self._keeping = keeping
        models = [model, *(_on(model, device) for device in devices[1:])]
        self._threads = [_Thread(Mapper(one, name, what)) for one in models]
        self._parts: list[dict[str, Consumer]] = []
        self._shards: list[Shard] = []
        self._own: tuple[Mapping[str, Consumer] | None, list[dict[str, Consumer]]] = (None, [])
        self._turn = 0

    def stage(self, number: int, consumers: Mapping[str, Consumer]) -> None:
        known = asked(number, consumers)
        self._made = [self._keeping.again(str(thread.mapper.model.device), known) for thread in self._threads[1:]]

    def begin(self, part: Mapping[str, Consumer]) -> None:
        super().begin(part)
        self._parts = [dict(part), *({name: made[name].fresh() for name in part} for made in self._made)]
        self._shards = [Shard(0, 0, 0) for _ in self._threads]
        self._turn = 0
        for thread, mine in zip(self._threads, self._parts, strict=True):
            thread.mapper.begin(mine)

    @property
    def nbytes(self) -> int:
        return sum(thread.mapper.nbytes for thread in self._threads)

    def take(self, shard: Shard, asked: Sequence[int], found: Loaded, *, again: bool, measure: bool) -> None:
        which = self._turn % len(self._threads)
        mine, self._turn = self._shards[which], self._turn + 1
        self._threads[which].put(
            lambda mapper: mapper.take(mine, asked, found, again=again, measure=measure and which == 0)
        )

    def end(self, shard: Shard) -> dict[str, Consumer]:
        """All that the devices found, merged in their order."""
        for thread in self._threads:
            thread.wait()
        for mine in self._shards:
            shard.residual = mine.residual if shard.residual is None else shard.residual
            shard.unreadable = sorted([*shard.unreadable, *mine.unreadable])
            shard.skipped += mine.skipped
        whole = self._parts[0]
        for part in self._parts[1:]:
            for name, each in part.items():
                here = whole[name].fresh()
                here.restore(each.state())
                whole[name].merge(here)
        return whole


class _Thread:
    """What is put is done by a thread, in order; its error is raised where the next thing is put, or waited for."""

    def __init__(self, mapper: Mapper) -> None:
        self.mapper = mapper
        self._tasks: queue.Queue[Task] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name=f"summand-{mapper.model.device}", daemon=True).start()

    def put(self, task: Task) -> None:
        self._raise()
        self._tasks.put(task)

    def wait(self) -> None:
        self._tasks.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                if self._error is None:
                    task(self.mapper)
            except BaseException as error:
                self._error = error
            finally:
                self._tasks.task_done()


def _on(model: Model, device: str) -> Model:
    """The model on another device; on its own it can be shared."""
    place = torch.device(device)
    if place == model.device:
        return model
    made: Any = copy.deepcopy(model)
    try:
        made.clip.to(place)
    except (RuntimeError, AssertionError) as error:
        raise SummandError(f"cannot use the device {device}: {error}") from error
    return made
