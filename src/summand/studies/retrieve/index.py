"""Nearest images by what one unit writes: same colour, same place, whatever the unit says (paper C, section 4.3)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ...data import ImageSource, Skipped
from ...effects.effects import Effects
from ...errors import SummandError
from ...models import Model
from ...statistics.moments import Moments
from ...surroundings import remedy_of, reserve
from ...survey import Group
from ...survey.engine import read
from ...survey.units import effects_of
from ...text.labels import importance, label_heads
from ...text.pools import Pool
from ...text.properties import axes_of_property, heads_of_property, texts_of_property
from ...towers.finite import check_finite
from ...towers.precision import doubled
from ...unit import Unit
from ..shift.concepts import concepts

Metric = Literal["inner", "cosine"]
_BLOCK = 1 << 22  # numbers of the index that are read at once


@dataclass(frozen=True)
class Space:
    """Where images are compared: the effects of some units, side by side; no units: the whole representation, or what
    it holds along some axes."""

    units: tuple[Unit, ...] = ()
    axes: Float[Tensor, "axis embed"] | None = None

    def features(self, model: Model, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image feature"]:
        r"""Coordinates in which the inner product is Σ_units ⟨φ(x), φ(y)⟩: a few numbers a unit, never [unit, embed].

        With directions Bᵀ = Q R, R c are the coordinates of Bᵀ c in an orthonormal basis of the unit's span.
        """
        if not self.units:
            whole = F.normalize(model.encode_image(pixels).float(), dim=1)
            return whole if self.axes is None else whole @ self.axes.to(whole).T
        found, _ = effects_of(list({unit.group: None for unit in self.units}), model, pixels)
        return torch.cat([coordinates(found[unit.group], unit) for unit in self.units], dim=1)


def coordinates(effects: Effects, unit: Unit) -> Float[Tensor, "image feature"]:
    """Coordinates of what one unit writes in an orthonormal basis of its span."""
    shape = effects.basis.shape[:-2]
    if len(unit.index) != len(shape) or any(not 0 <= n < size for n, size in zip(unit.index, shape, strict=True)):
        raise SummandError(
            f"there is no unit {unit.name} in {unit.group.name}; its {' × '.join(effects.units)} go up to "
            f"{', '.join(str(size - 1) for size in shape)}"
        )
    basis = effects.basis.select([unit.index[0]])._whole()[0, *unit.index[1:]]  # [path, embed]
    mixing = torch.linalg.qr(doubled(basis.T)).R
    return (doubled(effects.coefficients[:, *unit.index]) @ mixing.T).float()


class Index:
    """Features of a whole source in a file that is read block by block: memory does not grow with the images.

    features: a memory map [image, feature] in fp32 (a head of 64 channels: 256 MB on disk a million images). images:
    each one's number in the source. mean: of the features.
    """

    def __init__(self, features: np.ndarray, images: np.ndarray, skipped: tuple[Skipped, ...]) -> None:
        self.features, self.images, self.skipped = features, images, skipped
        self.mean = self._mean()

    def __len__(self) -> int:
        return len(self.images)

    def _blocks(self) -> list[slice]:
        rows = max(1, _BLOCK // self.features.shape[1])
        return [slice(start, min(start + rows, len(self))) for start in range(0, len(self), rows)]

    def _mean(self) -> Float[np.ndarray, " feature"]:
        total = sum(np.asarray(self.features[some], dtype=np.float64).sum(axis=0) for some in self._blocks())
        return np.asarray(total) / len(self)

    def search(
        self, queries: Float[Tensor, "query feature"], k: int, metric: Metric = "cosine", centre: bool = True
    ) -> tuple[Int[np.ndarray, "query k"], Float[np.ndarray, "query k"]]:
        r"""The k images of largest ⟨φ(q) − μ, φ(x) − μ⟩ (metric "inner"; "cosine" divides by both lengths), exactly.

        centre: take the mean μ over the source away, since what an effect has in all images tells none apart. Returns
        the images' numbers in the source and their scores, best first; equal scores are in the order of the source.

        Raises `SummandError` for k below 1, and for queries of another width.
        """
        if k < 1:
            raise SummandError(f"at least 1 nearest image must be asked for, got {k}")
        if queries.shape[1] != self.features.shape[1]:
            raise SummandError(
                f"queries have {queries.shape[1]} features, this index {self.features.shape[1]}: another unit or model"
            )
        check_finite(queries, "query", "check the picture and the model")
        if not np.isfinite(self.mean).all():
            raise SummandError("features of the searched images are NaN or infinite; check the model, and index again")
        shift = self.mean if centre else np.zeros_like(self.mean)
        asked = doubled(queries).cpu().numpy() - shift
        if metric == "cosine":
            asked = asked / np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-12)
        best = np.zeros((len(asked), 0)), np.zeros((len(asked), 0), dtype=np.int64)
        for some in self._blocks():
            block = np.asarray(self.features[some], dtype=np.float64) - shift
            if metric == "cosine":
                block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
            scores = np.concatenate([best[0], asked @ block.T], axis=1)
            rows = np.concatenate(
                [best[1], np.broadcast_to(np.arange(some.start, some.stop), (len(asked), len(block)))], axis=1
            )
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            best = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        return self.images[best[1]], best[0]


def build_index(
    model: Model,
    source: ImageSource,
    space: Space,
    folder: str | Path | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
) -> Index:
    """One pass over a source. folder: where features.npy is put; by default a file that vanishes with the index.

    Raises `SummandError` where no image could be read, and for units that the model does not have.
    """
    skipped: list[Skipped] = []
    features: np.ndarray | None = None
    images: list[int] = []
    try:
        for batch in read(model, source, batch_size, progress=progress, skipped=skipped):
            found = space.features(model, batch.pixels).cpu().numpy().astype(np.float32)
            if features is None:
                shape = (len(source), found.shape[1])
                features = _room(folder, shape)
            features[len(images) : len(images) + len(found)] = found
            images += batch.indices
    except OSError as error:
        raise SummandError(
            f"cannot write the index to {folder or tempfile.gettempdir()}: {error.strerror or error}; "
            f"{remedy_of(error) or 'give another folder'}{' (TMPDIR=FOLDER)' if folder is None else ''}"
        ) from error
    assert features is not None  # else nothing could be read, and `read` has said so
    return Index(features[: len(images)], np.array(images), tuple(skipped))


def _room(folder: str | Path | None, shape: tuple[int, int]) -> np.ndarray:
    if folder is None:
        with tempfile.TemporaryFile() as file:  # the map keeps it alive
            reserve(file.fileno(), 4 * shape[0] * shape[1])
            return np.memmap(file, np.float32, "r+", shape=shape)
    path = Path(folder) / "features.npy"
    found = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    with open(path, "r+b") as file:
        reserve(file.fileno(), path.stat().st_size)
    return found


def property_units(
    model: Model,
    moments: Moments,
    pool: Pool,
    name: str,
    layers: Sequence[int] | None = None,
    known: Mapping[tuple[int, int], str | None] | None = None,
) -> tuple[Unit, ...]:
    """The heads of these layers (by default the last four) whose labels name a property. moments: of all heads, over
    any images. known: what the labels of a survey name, as `heads_of_property` has it.

    Raises `SummandError` that lists the properties that heads are labelled with.
    """
    read = range(max(0, model.tower.layers - 4), model.tower.layers) if layers is None else layers
    texts = doubled(model.encode_text(pool.texts))
    labels = label_heads(moments, read, pool.texts, texts, importance(moments, texts), min(10, len(pool.texts)))
    found = heads_of_property(labels, name, pool, known)
    return tuple(Unit(Group("heads"), (label.layer, label.head)) for label in found)


def property_axes(model: Model, pool: Pool, name: str) -> Float[Tensor, "axis embed"]:
    """The axes along which the texts of a property differ, each value once. Raises `SummandError` that lists the
    properties that the pool has."""
    chosen = texts_of_property(pool, name)
    some = replace(pool, texts=tuple(pool.texts[place] for place in chosen), lines=())
    return axes_of_property(concepts(model, some).directions)


def agreement(index: Index, queries: Sequence[int], truth: np.ndarray, k: int = 10, metric: Metric = "cosine") -> float:
    """How often one of the k nearest other images has the same value as the query, on average. queries: places in the
    index; truth: [image], the values of all images of the source."""
    asked = torch.from_numpy(np.array(index.features[np.asarray(queries)]))
    found, _ = index.search(asked, k + 1, metric)
    shares = []
    for query, row in zip(index.images[np.asarray(queries)], found, strict=True):
        others = [image for image in row if image != query][:k]
        shares.append(np.mean(truth[others] == truth[query]))
    return float(np.mean(shares))
