"""Batches of images through a model, to consumers: what every way of computing a pass does with a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..data.loader import Loaded
from ..errors import SummandError, listed
from ..models import Model
from ..models.prepared import on_device
from .batch import Batch, Consumer
from .position import Shard
from .units import Group


class Mapper:
    """One device's share of a pass.

    name: of an image of the source, by its number. what: the pass, for what is said on stderr.
    """

    def __init__(self, model: Model, name: Callable[[int], str], what: str = "survey") -> None:
        self.model, self._name, self._what = model, name, what
        self._most = 1 << 30  # images a batch at most, since the memory holds no more
        self._part: dict[str, Consumer] = {}

    @property
    def nbytes(self) -> int:
        """Of the rows that are held, one an image."""
        return sum(getattr(each, "nbytes", 0) for each in self._part.values())

    def stage(self, number: int, consumers: Mapping[str, Consumer]) -> None:
        """A stage begins. consumers: of the whole pass, which know what the stages before it found."""

    def begin(self, part: Mapping[str, Consumer]) -> None:
        """From now on batches go to these consumers."""
        self._part = dict(part)

    def take(self, shard: Shard, asked: Sequence[int], found: Loaded, *, again: bool, measure: bool) -> None:
        """Take in a batch, and add to the shard what could not be read. asked: the images that it was to hold. again:
        they have been read before. measure: whether the residual of a pass is still to be measured."""
        groups = dict.fromkeys(group for each in self._part.values() for group in each.groups)
        shard.skipped += found.skipped
        if not again:
            shard.unreadable += sorted(set(asked) - set(found.indices))
        if found.pixels is None:
            return
        for batch in self._fitting(found.indices, found.pixels, tuple(groups)):
            if measure and shard.residual is None:
                shard.residual = batch.parts.residual()
            try:
                for each in self._part.values():
                    each.update(batch)
            except SummandError as error:
                raise self._named(error, batch) from error

    def end(self, shard: Shard) -> dict[str, Consumer]:
        """What the consumers know now; the shard is whole."""
        return self._part

    def _fitting(self, indices: list[int], pixels: Tensor, groups: tuple[Group, ...]) -> Iterator[Batch]:
        """In batches that the memory of the device holds: they are halved where it runs out, which is said."""
        at = 0
        while at < len(indices):
            some = slice(at, at + self._most)
            batch = Batch(self.model, indices[some], on_device(self.model, pixels[some]), groups)
            try:
                batch.make()
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self._most = len(batch) // 2
                torch.cuda.empty_cache()
                print(f"{self._what}: out of memory; {self._most} images at a time from here on", file=sys.stderr)
                continue
            yield batch
            at += len(batch)

    def _named(self, error: SummandError, batch: Batch) -> SummandError:
        """The same error with the images whose output is not finite."""
        with torch.no_grad():
            bad = ~torch.isfinite(self.model.clip.encode_image(batch.pixels)).all(dim=1)
        names = [self._name(batch.indices[i]) for i in bad.nonzero()[:, 0].tolist()]
        return type(error)(f"{error}: of {listed(names, most=5)}") if names else error
