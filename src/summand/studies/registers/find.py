"""Register neurons: found over images, neutralised, and what that changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...data import ImageSource
from ...errors import SummandError
from ...models import Model
from ...towers.pool import PoolTower
from ...towers.precision import doubled
from ..ablation.accuracy import Batch, Version, read
from .pool import PoolSink
from .stream import StreamSink

COUNT, RATIO = 10, 3.0
Sink = PoolSink | StreamSink


@dataclass(frozen=True)
class Found:
    """The neurons that make a model's sink, the strongest first.

    neurons: (layer, neuron), layer 0 for an attention pool; scores: what each does to the sink (`PoolSink`,
    `StreamSink`). strength: the sink's, and what that is of, `measure`; a sink is there where it exceeds `ratio`, and
    without one there are no register neurons. patch: where it is, (row, column), where it is the same in every image.
    share: of the pooled attention on patches that rests on it; of a stream of tokens, of the images that have one.
    zeroed, moved, random: the strength with the neurons at zero, with them moved to a register of their own, and with
    as many neurons drawn at random at zero; cosine_…: of the outputs with the model's own. None where there is no sink,
    moved where the tower takes no further token.
    """

    neurons: tuple[tuple[int, int], ...]
    scores: tuple[float, ...]
    strength: float
    measure: str
    ratio: float
    share: float
    patch: tuple[int, int] | None = None
    zeroed: float | None = None
    moved: float | None = None
    random: float | None = None
    cosine_zeroed: float | None = None
    cosine_moved: float | None = None
    cosine_random: float | None = None

    @property
    def there(self) -> bool:
        """Whether there is a sink."""
        return bool(self.neurons)


def find_registers(
    model: Model,
    source: ImageSource,
    count: int = COUNT,
    *,
    ratio: float = RATIO,
    patch: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool | None = False,
) -> Found:
    """The `count` neurons that make the sink of a model most, and what neutralising them changes: three passes.

    Of a CLIP-ResNet the sink is a patch that draws the attention of the pool, and its neurons are those without which
    it draws least (paper B's code). Of a transformer sinks are patch tokens of outlying norm, and their neurons those
    of the MLPs that are active on them rather than elsewhere. All of it is of single tokens, and of passes with neurons
    held: nothing that a survey could keep, so its images are read again. ratio: by how much a sink must exceed what is
    usual. patch: of a CLIP-ResNet, which patch is looked at (row by row; paper B: the last). seed: of the random
    control.

    Raises `SummandError` for other towers, and where no image can be read.
    """
    family = RegisterNeurons(model, count, ratio=ratio, patch=patch, seed=seed)
    for turn in range(family.rounds):
        for batch in read(model, source, batch_size, "sinks" if turn == 0 else "register neurons", progress):
            family.learn(turn, batch)
        family.end(turn)
    found, ways = family.found, family.ways
    if not found.there:
        return found
    sums = {name: np.zeros(2) for name in ways}
    seen = 0
    for batch in read(model, source, batch_size, "without them", progress):
        own = doubled(model.encode_image(batch.pixels))
        seen += len(own)
        for name in ways:
            outputs, strengths = family.outputs(name, batch.pixels)
            alike = F.cosine_similarity(doubled(outputs), own, dim=1)
            sums[name] += [float(strengths.sum()), float(alike.sum())]
    changes: dict[str, Any] = {}
    for name, total in sums.items():
        changes |= {name: float(total[0] / seen), f"cosine_{name}": float(total[1] / seen)}
    return replace(found, **changes)


class RegisterNeurons:
    """A family of ablations (see `ablate`): the register neurons at zero, moved to a register of their own, and as many
    neurons at random at zero. They are found over the images that the means are taken over."""

    rounds, axis = 2, ""

    def __init__(
        self, model: Model, count: int = COUNT, *, ratio: float = RATIO, patch: int | None = None, seed: int = 0
    ) -> None:
        if count < 1:
            raise SummandError(f"count must be at least 1 neuron, got {count}")
        if not ratio > 1:
            raise SummandError(f"a sink exceeds what is usual: ratio must be above 1, got {ratio}")
        pooled = isinstance(model.tower, PoolTower)
        if patch is not None and not pooled:
            raise SummandError(f"sinks of {model.name} are other patches in every image; leave patch={patch} out")
        self._sink: Sink = PoolSink(model, patch) if pooled else StreamSink(model, ratio)
        self._grid, self._count, self._ratio, self._seed = model.tower.grid, count, ratio, seed
        self._moves = pooled or not getattr(model.tower, "averaged", False)
        self._drawn: list[tuple[int, int]] = []
        self._found: Found | None = None

    def learn(self, turn: int, batch: Batch) -> None:
        self._sink.learn(turn, batch.pixels)

    def end(self, turn: int) -> None:
        self._sink.end(turn)
        if turn == 0:
            return
        sink, scores = self._sink, self._sink.scores()
        places = [(layer, neuron) for layer, row in scores.items() for neuron in range(len(row))]
        flat = torch.cat(list(scores.values()))
        there = sink.share > 0 if isinstance(sink, StreamSink) else sink.strength > self._ratio
        best = [i for i in flat.argsort(descending=True, stable=True)[: self._count].tolist() if flat[i] > 0 and there]
        rng = np.random.default_rng(self._seed)
        others = sorted(set(range(len(flat))) - set(best))
        self._drawn = [places[others[i]] for i in rng.choice(len(others), min(len(best), len(others)), replace=False)]
        patch = None if sink.patch is None else (sink.patch // self._grid[1], sink.patch % self._grid[1])
        neurons, own = tuple(places[i] for i in best), tuple(float(flat[i]) for i in best)
        self._found = Found(neurons, own, sink.strength, sink.measure, self._ratio, sink.share, patch)

    @property
    def found(self) -> Found:
        """What was found, once the passes are over; nothing of what it changes is known yet."""
        assert self._found is not None
        return self._found

    @property
    def ways(self) -> list[str]:
        """The ways to neutralise them that the tower allows, and the control."""
        return ["zeroed", *(["moved"] if self._moves else []), "random"]

    def outputs(
        self, way: str, pixels: Float[Tensor, "image 3 height width"]
    ) -> tuple[Float[Tensor, "image embed"], Float[Tensor, " image"]]:
        """Embeddings, and the sink's strength in every image."""
        neurons = self._drawn if way == "random" else list(self.found.neurons)
        return self._sink.neutralised(pixels, neurons, register=way == "moved")

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        count = len(self.found.neurons)
        if not count:
            yield Version("registers", "register neurons: there is no sink, so there are none"), batch.total
            return
        names = {
            "zeroed": f"{count} register neurons at zero",
            "moved": f"{count} register neurons moved to a register",
            "random": f"{count} random neurons at zero",
        }
        for way in self.ways:
            yield Version("registers", names[way]), self.outputs(way, batch.pixels)[0]
