"""The images that directions of units are learnt from, as pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from ..data import open_source
from ..data.masks import MaskSource
from ..data.skips import Skipped, skip
from ..errors import SummandError
from ..models import Model, pixels_of
from .methods import Batches
from .windows import fitted

_MOST = 500


def reference_batches(model: Model, images: Iterable[Image.Image] | np.ndarray, size: int = 64) -> Batches:
    """Batches of pixels, made once and kept, to learn neuron directions from."""
    pixels = pixels_of(model, images if isinstance(images, np.ndarray) else list(images))
    return lambda: pixels.split(size)


def _readable(
    read: Callable[[int], Image.Image], name: Callable[[int], str], indices: Iterable[int]
) -> list[Image.Image]:
    """The pictures that can be read. Raises `SummandError` where none can."""
    found: list[Image.Image] = []
    skipped: list[Skipped] = []
    for index in indices:
        try:
            found.append(read(index))
        except OSError as error:
            skip(skipped, name(index), error)
    if not found:
        why = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:3])
        raise SummandError(f"directions of neurons are learnt from images, and not one could be read ({why})")
    return found


def learnt_from(model: Model, reference: str | None, source: MaskSource | None = None) -> tuple[Batches, bool]:
    """Pixels of a source of images; where none is named those that its world always has at hand, else at most 500
    pictures of the data themselves, in the middle of which the model's square is cut. And whether it was the data."""
    named = reference if reference is not None else model.world.images
    if named is not None:
        images = open_source(named)
        pictures = _readable(images.image, images.name, range(len(images)))
    elif source is not None:
        step = max(1, len(source) // _MOST)
        pictures = _readable(lambda i: source.read(i).image, source.name, range(0, len(source), step))
    else:
        raise SummandError("directions of neurons are learnt from images: give some, reference=IMAGES")
    if model.world.images is None:
        pictures = [fitted(picture, model.tower.image_size, "crop") for picture in pictures]
    return reference_batches(model, pictures), named is None
