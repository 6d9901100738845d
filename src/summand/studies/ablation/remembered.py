"""Images as a survey remembers them that kept the heads' coefficients of every layer: direct effects without a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.effects import Effects
from ...models import Model
from ...survey import Survey
from .batch import Batch


@dataclass(frozen=True)
class RememberedParts:
    """The direct effects of the heads, and those of all MLPs together."""

    heads: Effects
    all_mlps: Float[Tensor, "image embed"]

    def head_effects(self) -> Effects:
        return self.heads

    def mlps(self) -> Float[Tensor, "image one embed"]:
        """As if one layer had written them all: what they add up to."""
        return self.all_mlps[:, None]


class Remembered(Batch):
    """A batch of which direct effects are known, and no pixels."""

    def __init__(
        self, model: Model, indices: Sequence[int], parts: RememberedParts, total: Float[Tensor, "image embed"]
    ) -> None:
        super().__init__(model, torch.empty(len(indices), 0), indices)
        self._remembered, self.total = parts, total

    @property
    def parts(self) -> Any:
        return self._remembered


def remembers(survey: Survey, model: Model) -> bool:
    """Whether a survey kept the heads' coefficients of every layer, for each image."""
    return survey.holds("heads") and survey.manifest.kept == tuple(range(model.tower.layers))


def remembered(survey: Survey, model: Model, batch_size: int, aside: bool = False) -> Iterator[Remembered]:
    """The images that its statistics are of as batches; aside: those that were kept aside as well."""
    images = survey.images
    places = np.arange(len(images)) if aside else np.flatnonzero(~images["held_out"].to_numpy())
    numbers, kept, mlps, outputs = images.index.to_numpy(), survey.kept, survey.mlps, survey.outputs
    for start in range(0, len(places), batch_size):
        some = torch.from_numpy(places[start : start + batch_size])
        heads = Effects(kept.coefficients[some].to(model.device), kept.basis.to(model.device), kept.units, kept.paths)
        parts = RememberedParts(heads, mlps[some].to(model.device))
        yield Remembered(model, numbers[some.numpy()].tolist(), parts, outputs[some].to(model.device))
