"""What is watched: for every unit the concepts that it can tell, as numbers read off an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...data import ImageSource, Skipped
from ...data.sources import batches
from ...errors import SummandError
from ...models import Model, pixels_of
from ...progress import Progress
from ...statistics.moments import Moments
from ...survey import Group
from ...survey.engine import Batch, check_read
from ...survey.profile import Profile
from ...survey.units import effects_of
from ...text.labels import importance, label_heads
from ...text.pools import Pool
from ...text.properties import property_of_head
from ...towers.precision import doubled
from .concepts import Concepts
from .pixels import of_pixels
from .statistics import FEWEST

_LABELS = 10
_SOME_UNITS = 400


@dataclass(frozen=True)
class Readings:
    r"""reading[image, column] = Σ_path coefficients[image, units[column], path] · weights[column, path]

    Of a head: ⟨its effect, a concept's direction⟩ for each concept that it is labelled with. Of a neuron or a pair: the
    projection ⟨φ, r⟩ on its own direction, which is called by the concept nearest to r.

    units: a unit's index for each column; concepts: the concept of each column.
    """

    group: Group
    units: tuple[tuple[int, ...], ...]
    concepts: tuple[int, ...]
    weights: Float[Tensor, "column path"]

    @property
    def names(self) -> list[str]:
        """What the unit of each column is called."""
        return [self.group.unit(index) for index in self.units]

    def read(self, coefficients: Float[Tensor, "image *units path"]) -> Float[Tensor, "image column"]:
        picked = doubled(coefficients[:, *torch.tensor(self.units).T])
        return torch.einsum("icp,cp->ic", picked, self.weights.to(picked.device))


@dataclass(frozen=True)
class Measured:
    """readings, and M(x)/‖M(x)‖ of every image; indices: each image's number in its source. pixels: `PIXELS` of these
    images, or of as many as were measured; None where they are not known."""

    readings: Float[np.ndarray, "image column"]
    embeddings: Float[np.ndarray, "image embed"]
    indices: np.ndarray
    skipped: tuple[Skipped, ...] = ()
    pixels: Float[np.ndarray, "some measure"] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def rows(self, which: np.ndarray) -> Measured:
        """Some of the images."""
        whole = self.pixels is not None and len(self.pixels) == len(self)
        pixels = self.pixels[which] if whole and self.pixels is not None else None
        return Measured(self.readings[which], self.embeddings[which], self.indices[which], self.skipped, pixels)


def head_readings(model: Model, moments: Moments, pool: Pool, known: Concepts, layers: Sequence[int]) -> Readings:
    """Every head of these layers along the concepts of the property that its TextSpan label names.

    A head whose first texts name no property is read along those texts themselves. The span, not the label, says along
    what: every head is to be read along something, and a reading claims nothing until it differs between two sets.
    """
    texts = doubled(model.encode_text(pool.texts))
    size = min(_LABELS, len(pool.texts))
    labels = label_heads(moments, layers, pool.texts, texts, importance(moments, texts), size)
    along = moments.basis.double().toward(known.directions.to(texts))  # [layer, head, path, concept]
    by_name = {name: i for i, name in enumerate(known.names)}
    units, columns, weights = [], [], []
    for label in labels:
        some = known.of(property_of_head(label, pool)) or [by_name[text] for text in label.texts if text in by_name]
        units += [(label.layer, label.head)] * len(some)
        columns += some
        weights.append(along[label.layer, label.head][:, some].T)
    return Readings(Group("heads"), tuple(units), tuple(columns), torch.cat(weights).cpu())


def unit_readings(profile: Profile, known: Concepts, most: int = _SOME_UNITS) -> Readings:
    """The neurons or pairs of one group with the largest significant effects, each along its r."""
    if len(profile.groups) != 1:
        raise SummandError(f"one group of units is watched at a time, got {[group.name for group in profile.groups]}")
    rank, thresholds = profile.ranks[0], profile.thresholds[0]
    order = thresholds.flatten().argsort(descending=True, stable=True)[:most]
    directions = F.normalize(profile.directions[order], dim=1).cpu()
    nearest = (directions @ F.normalize(known.directions, dim=1).T).argmax(dim=1)
    shape = rank.basis.shape[:-2]
    units = [tuple(int(n) for n in np.unravel_index(int(place), shape)) for place in order]
    weights = rank.reading()[..., 0].flatten(0, -2)[order]
    return Readings(profile.groups[0], tuple(units), tuple(nearest.tolist()), weights.cpu())


def measure(
    model: Model, source: ImageSource, readings: Readings, batch_size: int = 64, progress: bool | None = False
) -> Measured:
    """One pass: the readings, the embedding and the pixels of every image. Of the images that are compared, never of
    reference data alone, and with the pictures as they are (size, compression), which no other pass has in hand.

    Raises `SummandError` for fewer than 8.
    """
    skipped: list[Skipped] = []
    found, embeddings, indices, pixels = [], [], [], []
    with Progress("images", len(source), "images", progress) as bar:
        for some in batches(source, batch_size, skipped):
            batch = Batch(model, some.indices, pixels_of(model, some.images), [readings.group])
            found.append(readings.read(batch.effects(readings.group).coefficients).cpu().contiguous().numpy())
            embeddings.append(F.normalize(batch.outputs.float(), dim=1).cpu().contiguous().numpy())
            indices += batch.indices
            pixels.append(of_pixels(model, some.images))
            bar.update(len(batch))
    check_read(source, len(indices), skipped, FEWEST)
    return Measured(
        np.concatenate(found),
        np.concatenate(embeddings),
        np.array(indices, dtype=np.int64),
        tuple(skipped),
        np.concatenate(pixels),
    )


def read_pixels(
    model: Model, pixels: Float[Tensor, "image 3 height width"], readings: Readings
) -> tuple[Float[np.ndarray, "image column"], Float[np.ndarray, "image embed"]]:
    """The readings and M(x)/‖M(x)‖ of a batch."""
    effects, parts = effects_of([readings.group], model, pixels)
    read = readings.read(effects[readings.group].coefficients)
    embeddings = F.normalize(parts.total().float(), dim=1)
    return read.cpu().contiguous().numpy(), embeddings.cpu().contiguous().numpy()
