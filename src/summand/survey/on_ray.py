"""A pass on a Ray cluster: Ray Data reads and decodes in CPU actors, mappers beside a model emit partial states.

The only import of ray in the package; it is an extra.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..data import ImageSource, Skipped
from ..data.loader import Loaded, loaded
from ..errors import SummandError, first_line
from ..models import Model
from ..processes import wanted
from .batch import Arrays, Consumer
from .engine import Stage
from .keeping import Keeping, asked
from .mapper import Mapper
from .partial import Row, failed, joined, packed, part_of, row_of, unpacked
from .position import Shard

MAPPER_CPUS, READER_CPUS, MERGER_CPUS = 0.5, 0.25, 0.25
"""Shares of a core that an actor, or a task that merges, asks for: two mappers of a whole one on a machine of two would
leave none to those that read, and the pipeline would wait for ever."""
_SHARDS, _MOST_BATCHES = 8, 8  # parts a mapper at least; batches a part at most, whose pixels lie in memory together
_MERGED = 8
"""Parts that are merged where they are computed, so that no more than an eighth of them comes to the command."""


@dataclass(frozen=True)
class Task:
    """What an actor is to do with a stage. known: the states of the consumers that others ask."""

    stage: int
    again: bool
    keeping: Keeping
    known: Mapping[str, Arrays]
    device: str
    threads: int


class Reader:
    """Rows of a plan (stage, start, stop, indices) → the same with their pixels, as flat columns."""

    def __init__(self, source: Any, prepare: Any) -> None:
        self.source, self.prepare = _got(source), prepare

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, Any]:
        plan = [np.frombuffer(one, dtype=np.int64) for one in rows["indices"]]
        found = list(loaded(self.source, plan, self.prepare))
        return {
            **{name: rows[name] for name in ("start", "stop", "indices")},
            "read": [np.array(each.indices, dtype=np.int64).tobytes() for each in found],
            "pixels": [b"" if each.pixels is None else packed({"pixels": each.pixels.numpy()}) for each in found],
            "skipped": [json.dumps([asdict(item) for item in each.skipped]) for each in found],
        }


class Passing:
    """Rows with pixels → a row a part of the stage, with the states of the consumers in a column each."""

    def __init__(self, model: Any, source: Any, task: Any) -> None:
        self.task: Task = _got(task)
        torch.set_num_threads(self.task.threads)
        self.model: Model = _got(model)
        if self.task.device != "cpu":
            self.model.clip.to(self.task.device)
        self.mapper = Mapper(self.model, _got(source).name)
        made = self.task.keeping.again(self.task.device, self.task.known)
        self.taking = {name: each for name, each in made.items() if self.task.stage in each.stages}

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        order = np.argsort(rows["start"])
        runs = np.split(order, np.flatnonzero(rows["start"][order][1:] != rows["stop"][order][:-1]) + 1)
        try:
            found = [self._part(rows, run) for run in runs]
        except SummandError as error:  # Ray would wrap it, and try again
            found = [failed(error)]
        return {name: [row[name] for row in found] for name in found[0]}

    def _part(self, rows: dict[str, np.ndarray], run: np.ndarray) -> Row:
        """Batches that stand side by side, as one shard."""
        self.mapper.begin({name: each.fresh() for name, each in self.taking.items()})
        at = int(rows["start"][run[0]])
        shard = Shard(self.task.stage, at, at)
        for number in run:
            row: Row = {name: column[number] for name, column in rows.items()}
            pixels = torch.from_numpy(unpacked(row["pixels"])["pixels"]) if row["pixels"] else None
            skipped = [Skipped(**item) for item in json.loads(row["skipped"])]
            found = Loaded(np.frombuffer(row["read"], dtype=np.int64).tolist(), pixels, skipped)
            planned = np.frombuffer(row["indices"], dtype=np.int64).tolist()
            self.mapper.take(shard, planned, found, again=self.task.again, measure=True)
            shard.stop = int(row["stop"])
        return row_of(shard, {name: each.state() for name, each in self.mapper.end(shard).items()})


def merging(rows: dict[str, np.ndarray], task: Any) -> dict[str, list[Any]]:
    """Rows of parts → the same with neighbours merged pairwise."""
    found = [{name: column[number] for name, column in rows.items()} for number in range(len(rows["error"]))]
    if len(found) > 1 and not any(row["error"] for row in found):
        got: Task = _got(task)
        made = got.keeping.again("cpu", got.known)
        found = [row_of(*part) for part in joined(map(part_of, found), made)]
    return {name: [row[name] for row in found] for name in found[0]}


class OnRay:
    """Where a survey is computed: a cluster that is there (`ray.init(address="auto")`), else a Ray of this machine.

    A mapper a GPU, or half a core each where the model is on the CPU; auto: on GPUs where the cluster has some,
    whatever is here. `--workers` says how many actors read. Actors that die are started again by Ray, and their rows
    are passed again, so that nothing is lost or counted twice. Raises `SummandError` where the cluster cannot hold one
    of each.
    """

    def __init__(
        self, model: Model, source: ImageSource, keeping: Keeping, batch_size: int, auto: bool = False
    ) -> None:
        self.ray = connected()
        self.model, self.source, self.keeping, self.batch_size = model, source, keeping, batch_size
        resources = self.ray.cluster_resources()
        self.gpu = model.device.type == "cuda" or (auto and resources.get("GPU", 0) >= 1)
        self.mappers, self.readers = sized(resources, self.gpu, wanted())
        device = model.device
        model.clip.to("cpu")  # so that it can be read where there is no GPU
        try:
            self._model, self._source = self.ray.put(model), self.ray.put(source)
        finally:
            model.clip.to(device)

    def shards(
        self, number: int, stage: Stage, start: int, stop: int, consumers: Mapping[str, Consumer], left: Sequence[int]
    ) -> Iterator[tuple[Shard, dict[str, Arrays]]]:
        """Parts of a range of a stage's images, as they are done."""
        starts = range(start, stop, self.batch_size)
        plan = [self._batch(stage, at, min(at + self.batch_size, stop), left) for at in starts]
        most = max(1, min(_MOST_BATCHES, len(plan) // (_SHARDS * self.mappers)))
        own = "cuda" if self.gpu else "cpu"
        task = Task(number, stage.again, self.keeping, asked(number, consumers), own, torch.get_num_threads())
        kept = self.ray.put(task)
        data = self.ray.data.from_items(plan, override_num_blocks=max(1, len(plan) // most))
        data = (
            data.map_batches(
                Reader,
                fn_constructor_args=(self._source, self.model.prepared),
                **{"batch_size": 1, "concurrency": self.readers, "num_cpus": READER_CPUS},
            )
            .map_batches(
                Passing,
                fn_constructor_args=(self._model, self._source, kept),
                **{"batch_size": most, "concurrency": self.mappers, "num_cpus": MAPPER_CPUS},
                **({"num_gpus": 1} if self.gpu else {}),
            )
            .map_batches(merging, fn_args=(kept,), batch_size=_MERGED, num_cpus=MERGER_CPUS)
        )
        try:
            for row in data.iter_rows():
                yield part_of(row)
        except self.ray.exceptions.RayError as error:
            why = first_line(error)
            raise SummandError(f"Ray stopped: {why}; what is done is kept, and the same command goes on") from error

    def _batch(self, stage: Stage, start: int, stop: int, left: Sequence[int]) -> Row:
        some = stage.indices[start:stop].astype(np.int64)
        return {"start": start, "stop": stop, "indices": some[~np.isin(some, left)].tobytes()}


def connected() -> Any:
    """The module, once it is connected, and quiet: its own lines must not drown ours."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a change to come
    try:
        import ray
        import ray.data
    except ImportError:
        raise SummandError("--engine ray needs the package ray: pip install 'summand-clip[ray]'") from None
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not ray.is_initialized():
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            ray.init(address="local", include_dashboard=False, **quiet)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return ray


def sized(resources: Mapping[str, float], gpu: bool, workers: int | None) -> tuple[int, int]:
    """How many actors compute, and how many read. Raises `SummandError` where there is not room for one of each.

    >>> sized({"CPU": 2.0}, False, None), sized({"CPU": 16.0, "GPU": 4.0}, True, None)
    ((2, 1), (4, 55))
    """
    cpus, gpus = resources.get("CPU", 0.0), int(resources.get("GPU", 0))
    if gpu and not gpus:
        raise SummandError(
            f"the model is on a GPU, and the Ray cluster has none ({cpus:g} CPUs); add workers with GPUs, or say "
            f"--device cpu"
        )
    mappers = gpus if gpu else max(1, int(cpus))
    room = cpus - MERGER_CPUS
    mappers = min(mappers, int((room - READER_CPUS) / MAPPER_CPUS + 1e-9))
    free = int((room - mappers * MAPPER_CPUS) / READER_CPUS + 1e-9)
    readers = max(1, workers) if workers is not None else free if gpu else min(free, max(1, int(cpus) // 4))
    if mappers < 1 or mappers * MAPPER_CPUS + readers * READER_CPUS > room + 1e-9:
        needed = max(1, mappers) * MAPPER_CPUS + max(1, readers) * READER_CPUS + MERGER_CPUS
        raise SummandError(
            f"the Ray cluster has {cpus:g} CPUs, and this needs {needed:g} ({MAPPER_CPUS:g} for each of "
            f"{max(1, mappers)} that compute, {READER_CPUS:g} for each of {max(1, readers)} that read, {MERGER_CPUS:g} "
            f"to merge); add nodes, "
            f"start Ray with more (--num-cpus), or give fewer --workers"
        )
    return mappers, readers


def _got(held: Any) -> Any:
    """What a reference stands for."""
    import ray

    return ray.get(held)
