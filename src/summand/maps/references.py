"""The images that directions of units are learnt from, as pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from ..data import open_source
from ..data.masks import MaskSource
from ..errors import SummandError
from ..models import Model, pixels_of
from .methods import Batches
from .windows import fitted

_MOST = 500


def reference_batches(model: Model, images: Iterable[Image.Image] | np.ndarray, size: int = 64) -> Batches:
    """Batches of pixels, made once and kept, to learn neuron directions from."""
    pixels = pixels_of(model, images if isinstance(images, np.ndarray) else list(images))
    return lambda: pixels.split(size)


def learnt_from(model: Model, reference: str | None, source: MaskSource | None = None) -> tuple[Batches, bool]:
    """Pixels of a source of images; where none is named those that its world always has at hand, else at most 500
    pictures of the data themselves, in the middle of which the model's square is cut. And whether it was the data."""
    named = reference if reference is not None else model.world.images
    if named is not None:
        images = open_source(named)
        pictures: list[Any] = [images.image(i) for i in range(len(images))]
    elif source is not None:
        step = max(1, len(source) // _MOST)
        pictures = [source.read(i).image for i in range(0, len(source), step)]
    else:
        raise SummandError("directions of neurons are learnt from images: give some, reference=IMAGES")
    if model.world.images is None:
        pictures = [fitted(picture, model.tower.image_size, "crop") for picture in pictures]
    return reference_batches(model, pictures), named is None
