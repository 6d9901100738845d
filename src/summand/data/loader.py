"""Pictures read and preprocessed in other processes while the model computes; in order, the same with any number."""

from __future__ import annotations

import multiprocessing
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..errors import SummandError
from ..processes import wanted
from .skips import note
from .sources import Drawn, ImageSource, Skipped, read_batch

TIMEOUT = 300.0
"""Seconds that a batch is waited for before the picture that is being read is given up."""
FEW = 256
"""Images below which no process is started of one's own accord."""
_MOST_GIVEN_UP = 10

Prepare = Callable[[Any], Tensor]
Some = Sequence[int] | np.ndarray


def fitting(source: ImageSource, images: int, device: str) -> int:
    """How many processes are worth it: none for few images and for what is in memory; one beside a model on the CPU,
    which needs the cores itself; else one a core, at most eight."""
    asked, cores = wanted(), os.cpu_count() or 1
    if asked is not None:
        return asked
    in_memory = isinstance(source, Drawn) or hasattr(source, "batch") or getattr(source, "sequential", False)
    if in_memory or images < FEW or cores < 2:
        return 0
    return 1 if device == "cpu" else min(8, cores)


@dataclass(frozen=True)
class Loaded:
    """A batch: which of its images could be read, their pixels (None where none could), and what could not."""

    indices: list[int]
    pixels: Tensor | None
    skipped: list[Skipped]


def loaded(
    source: ImageSource, plan: Sequence[Some], prepare: Prepare, *, count: int = 0, timeout: float = TIMEOUT
) -> Iterator[Loaded]:
    """Every batch of a plan, in its order. prepare: images as `read_batch` gives them → pixels. count: processes; 0
    reads in this one.

    A process that dies, or hangs for `timeout` seconds, costs the picture that it was reading: it counts as skipped,
    with the reason, and a new process goes on. Raises `SummandError` after ten of them.
    """
    if count == 0 or not plan:
        yield from (_read(source, [int(index) for index in indices], prepare) for indices in plan)
        return
    given_up: dict[int, str] = {}
    done = 0
    while done < len(plan):
        rest = _Batches(source, plan[done:], prepare, given_up, count)
        make, late = partial(DataLoader, rest, None, num_workers=count), partial(rest.give_up_hanging, timeout)
        with closing(_from_thread(make, timeout, late, rest.look_for_ended)) as reading:
            while done < len(plan):
                try:
                    found = next(reading)
                except (RuntimeError, OSError, EOFError):  # what the loader raises of its own processes
                    _give_up(rest, given_up)
                    break
                if isinstance(found, BaseException):
                    raise found
                note(found.skipped)
                done += 1
                yield found


def _give_up(rest: _Batches, given_up: dict[int, str]) -> None:
    """Leave out the picture that a process ended over. Raises `SummandError` where none is known, or after ten."""
    index, why = rest.lost
    if index is None or len(given_up) >= _MOST_GIVEN_UP:
        names = ", ".join(rest.source.name(i) for i in given_up) or "none"
        raise SummandError(
            f"the processes that read {rest.source.label} end again and again ({why}; given up: {names}); "
            f"--workers 0 reads without them"
        )
    given_up[index] = f"the process that read it {why}"


_DYING = 5.0
"""Seconds in which a process that fails is seen to be gone."""
_END = object()
_ENDING = 30.0
"""Seconds that the processes are waited for when no more is read."""


def _from_thread(
    make: Callable[[], Iterable[Any]],
    timeout: float,
    late: Callable[[], None],
    failed: Callable[[BaseException], None],
) -> Generator[Any, None, None]:
    """What another thread iterates over; where nothing comes for so many seconds `late` is called, and a `TimeoutError`
    raised. The loader has the main thread interrupted, wherever that is, when a process of its ends; in any other it
    says so where it is asked for the next batch. failed: told of an error while the other processes are still there."""
    ready: queue.Queue[Any] = queue.Queue(maxsize=2)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            if all(put((item, None)) for item in make()):
                put((_END, None))
        except BaseException as error:
            failed(error)
            put((_END, error))

    thread = threading.Thread(target=run, name="summand-loader", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = ready.get(timeout=timeout)
            except queue.Empty:
                late()
                raise TimeoutError from None
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join(_ENDING)  # else the interpreter may end in the middle of it, and abort


def _read(source: ImageSource, indices: list[int], prepare: Prepare) -> Loaded:
    skipped: list[Skipped] = []
    found = read_batch(source, indices, skipped)
    return Loaded(found.indices, prepare(found.images) if found.indices else None, skipped)


class _Batches(Dataset[Any]):
    """The batches of a plan by number. seen: [process, (its id, the image it reads, since when)], in shared memory."""

    def __init__(
        self,
        source: ImageSource,
        plan: Sequence[Some],
        prepare: Prepare,
        given_up: dict[int, str],
        count: int,
    ) -> None:
        self.source, self.plan, self.prepare, self.given_up = source, plan, prepare, dict(given_up)
        self.lost: tuple[int | None, str] = (None, "")
        self.seen = torch.full((count, 3), -1.0, dtype=torch.float64).share_memory_()

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> Any:
        wanted = [int(index) for index in self.plan[number]]
        watched = _Watched(self.source, self._note)
        try:
            found = _read(watched, [index for index in wanted if index not in self.given_up], self.prepare)
        except Exception as error:  # handed over as it is: the loader would make another text of it
            return error
        finally:
            self._note(-1)
        lost = [Skipped(self.source.name(i), self.given_up[i]) for i in wanted if i in self.given_up]
        return Loaded(found.indices, found.pixels, [*found.skipped, *lost])

    def _note(self, index: int) -> None:
        worker = get_worker_info()
        if worker is not None:
            self.seen[worker.id] = torch.tensor([os.getpid(), index, time.time()], dtype=torch.float64)

    def give_up_hanging(self, timeout: float) -> None:
        """End the process that has been at its image for longest; `lost` says which image, and why."""
        reading = self.seen[self.seen[:, 1] >= 0]
        longest = reading[reading[:, 2].argsort()][:1]
        for process, _, _ in longest.tolist():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        self.lost = (int(longest[0, 1]) if len(longest) else None), f"did not end in {timeout:g} s"

    def look_for_ended(self, error: BaseException) -> None:
        """`lost` says which image was being read by a process that is there no more, and what the loader says of it."""
        if self.lost[0] is not None:  # it was ended because it hung
            return
        until = time.monotonic() + _DYING
        while True:
            alive = {process.pid for process in multiprocessing.active_children()}
            reading = self.seen[self.seen[:, 1] >= 0].tolist()
            ended = [row for row in reading if int(row[0]) not in alive]
            if ended or time.monotonic() > until:
                break
            time.sleep(0.05)  # its connections are closed a moment before it is gone
        killed = re.search(r"signal: ([^.]+)\.", str(error))
        why = f"was killed ({killed[1].strip()})" if killed else "ended without a word"
        self.lost = (int(ended[0][1]), why) if ended else (None, why)


class _Watched:
    """A source that says which image it is about to read."""

    def __init__(self, source: ImageSource, note: Callable[[int], None]) -> None:
        self._source, self._note, self.label = source, note, source.label
        if isinstance(source, Drawn):
            self.pick = self._pick
        if (batch := getattr(source, "batch", None)) is not None:
            self.batch = batch

    def _pick(self, indices: np.ndarray) -> np.ndarray:
        self._note(int(indices[0]) if len(indices) else -1)
        assert isinstance(self._source, Drawn)
        return self._source.pick(indices)

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        return self._source.name(index)

    def image(self, index: int) -> Any:
        self._note(index)
        return self._source.image(index)

    def attributes(self) -> Any:
        return self._source.attributes()
