"""Where in the picture: the maps on the pages, of the images that these show, from one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor

from ...data import ImageSource, Skipped
from ...data.naming import printable
from ...effects.direct import Parts
from ...errors import first_line
from ...maps.neuron_maps import activations
from ...maps.pair_maps import pool_inputs
from ...models import Model, pixels_of
from ...progress import Progress
from ...surroundings import reserve
from ...survey import Group
from .entries import Entry
from .examples import Tab

_MOST = 2**26  # numbers a batch: of every token of every head its values, 256 MB


@dataclass(frozen=True)
class Slot:
    """Where a unit's maps lie in the store. images: row → number of the image; tabs: maps an image, 1 of units whose
    map is the same for all tabs."""

    start: int
    images: tuple[int, ...]
    tabs: int


class Maps:
    """All maps of a site, [image of a unit, tab, cell], in a file of one byte a cell, so that memory does not grow with
    the units: map = scale · value / 127. folder: is removed with the file when the site is built."""

    def __init__(self, tabs: Mapping[str, Sequence[Tab]], grid: tuple[int, int], folder: Path) -> None:
        self.grid, self.slots = grid, {}
        at, cells = 0, grid[0] * grid[1]
        for name, some in tabs.items():
            images = tuple(dict.fromkeys(image for tab in some for image in tab.images))
            count = len(some) if any(tab.direction is not None for tab in some) else 1
            self.slots[name] = Slot(at, images, count)
            at += len(images) * count
        with open(folder / "maps.bin", "w+b") as file:
            reserve(file.fileno(), max(at, 1) * cells)
            self._values = np.memmap(file, np.int8, "r+", shape=(max(at, 1), cells))
        self._scales = np.zeros(max(at, 1), dtype=np.float32)

    def put(self, name: str, image: int, maps: Float[Tensor, "tab cell"]) -> None:
        slot = self.slots[name]
        at = slot.start + slot.images.index(image) * slot.tabs
        values = maps.float().cpu().numpy()
        scales = np.abs(values).max(axis=1)
        self._scales[at : at + slot.tabs] = scales
        self._values[at : at + slot.tabs] = np.rint(127 * values / np.where(scales > 0, scales, 1)[:, None])

    def of(self, name: str) -> tuple[Float[np.ndarray, "image tab"], Int8[np.ndarray, "image tab cell"]]:
        """Scales and values of one unit."""
        slot = self.slots[name]
        stop = slot.start + len(slot.images) * slot.tabs
        shape = (len(slot.images), slot.tabs)
        return (
            self._scales[slot.start : stop].reshape(shape),
            np.array(self._values[slot.start : stop]).reshape(*shape, self._values.shape[1]),
        )


Seen = Callable[[list[int], Tensor, Any], None]


class Look:
    """One pass over the images of the pages: maps of every unit, and what others want to see of the batches.

    entries: the units; tabs: of each; seen: called with (numbers, pixels, parts) of every batch.
    """

    def __init__(self, model: Model, entries: Iterable[Entry], tabs: Mapping[str, Sequence[Tab]], maps: Maps) -> None:
        self.model, self.tabs, self.maps = model, tabs, maps
        self.skipped: list[Skipped] = []
        self.read: set[int] = set()
        self._wanted: dict[int, dict[Group, list[Entry]]] = {}
        for entry in entries:
            for image in maps.slots[entry.name].images:
                self._wanted.setdefault(image, {}).setdefault(entry.group, []).append(entry)

    def images(self, more: Iterable[int] = ()) -> list[int]:
        return sorted({*self._wanted, *more})

    def run(
        self, source: ImageSource, images: Sequence[int], seen: Seen, batch_size: int, progress: bool | None
    ) -> None:
        """Images that cannot be read are skipped, and stand in `skipped`; the others in `read`."""
        tower = self.model.tower
        tokens = tower.prefix + tower.grid[0] * tower.grid[1]
        channels = tower.head_maps().kept.shape[2]
        size = max(1, min(batch_size, _MOST // max(1, tower.layers * tower.heads * tokens * channels)))
        with Progress("maps", len(images), "images", progress) as bar:
            for start in range(0, len(images), size):
                some = images[start : start + size]
                numbers, pictures = [], []
                for image in some:
                    try:
                        pictures.append(source.image(image))
                        numbers.append(image)
                    except OSError as error:
                        self.skipped.append(Skipped(printable(source.name(image)), first_line(error)))
                if numbers:
                    self.read.update(numbers)
                    self._batch(numbers, pixels_of(self.model, pictures), seen)
                bar.update(len(some))

    @torch.no_grad()
    def _batch(self, numbers: list[int], pixels: Tensor, seen: Seen) -> None:
        with self.model.as_it_is():
            parts = self.model.decompose(pixels)
            groups = {group for image in numbers for group in self._wanted.get(image, {})}
            if Group("heads") in groups:
                self._heads(numbers, parts)
            layers = [group.layer for group in groups if group.kind == "neurons" and group.layer is not None]
            if layers:
                for layer, found in activations(self.model, pixels, sorted(layers)).items():
                    self._each(numbers, Group("neurons", layer), lambda i, e, a=found: a[i, :, e.unit.index[0]])
            for group in groups:
                if group.kind == "latents":
                    codes = self.model.reconstruction(pixels, group.layer).codes[:, self.model.tower.prefix :]
                    self._each(numbers, group, lambda i, e, c=codes: c[i, :, e.unit.index[0]])
            if Group("pairs") in groups:
                view, _, _ = pool_inputs(self.model, pixels)
                row, inputs = view.row[:, :, self.model.tower.prefix :], view.inputs[:, self.model.tower.prefix :]
                self._each(
                    numbers, Group("pairs"), lambda i, e: row[i, e.unit.index[1]] * inputs[i, :, e.unit.index[0]]
                )
            seen(numbers, pixels, parts)

    def _each(self, numbers: list[int], group: Group, of: Callable[[int, Entry], Tensor]) -> None:
        for row, image in enumerate(numbers):
            for entry in self._wanted.get(image, {}).get(group, ()):
                self.maps.put(entry.name, image, of(row, entry)[None])

    def _heads(self, numbers: list[int], parts: Parts) -> None:
        """What every token writes through a head toward the directions of its tabs."""
        effects = parts.token_effects()
        prefix = self.model.tower.prefix
        readings: dict[str, Tensor] = {}
        for row, image in enumerate(numbers):
            for entry in self._wanted.get(image, {}).get(Group("heads"), ()):
                layer, head = entry.unit.index
                if entry.name not in readings:
                    directions = [tab.direction for tab in self.tabs[entry.name] if tab.direction is not None]
                    basis = effects.basis._whole()[layer, head, 0]
                    readings[entry.name] = basis @ torch.stack(directions).to(basis).T
                tokens = effects.coefficients[row, layer, head, prefix:]
                self.maps.put(entry.name, image, (tokens.to(readings[entry.name]) @ readings[entry.name]).T)
