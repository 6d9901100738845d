"""What goes through the model: batches of pictures with masks, and of reference images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from ...data import Skipped
from ...data.masks import Masked, MaskSource
from ...maps.methods import Batches
from ...models import Model, pixels_of


def batches_of(source: MaskSource, size: int, skipped: list[Skipped]) -> Iterator[list[tuple[int, Masked]]]:
    for start in range(0, len(source), size):
        found = []
        for index in range(start, min(start + size, len(source))):
            try:
                found.append((index, source.read(index)))
            except OSError as error:
                skipped.append(Skipped(source.name(index), str(error) or type(error).__name__))
        if found:
            yield found


def reference_batches(model: Model, images: Iterable[Image.Image] | np.ndarray, size: int = 64) -> Batches:
    """Batches of pixels, made once and kept, to learn neuron directions from."""
    pixels = pixels_of(model, images if isinstance(images, np.ndarray) else list(images))
    return lambda: pixels.split(size)
