"""How a picture of any shape meets a square tower, and its mask with it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import SummandError
from ..models import Model
from .placing import placed

Fit = Literal["crop", "stretch", "mismatch", "windows"]
FITS = {
    "crop": "the shorter side resized, the middle cut out; image and mask alike",
    "stretch": "both resized to the model's size, whatever their shape",
    "mismatch": "the image cropped and the mask stretched, as the code of papers A and C has it",
    "windows": "overlapping windows of the model's size, half a window apart, over the whole picture",
}
"""How images and masks are brought to the size of the model."""


def check_fit(fit: str) -> None:
    if fit not in FITS:
        raise SummandError(f"fit must be one of {', '.join(FITS)}; got {fit!r}")


def resized_short(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """The picture, its shape kept, as small as covers size (height, width)."""
    height, width = size
    factor = max(height / image.height, width / image.width)
    return image.resize((max(width, int(image.width * factor)), max(height, int(image.height * factor))), resample)


def middle(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a picture, size (height, width)."""
    height, width = size
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def fitted(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """The picture as the model will see it; for windows, all of it at the model's scale."""
    if (image.height, image.width) == size:
        return image
    if fit == "stretch":
        return image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    covering = resized_short(image, size, Image.Resampling.BICUBIC)
    return covering if fit == "windows" else middle(covering, size)


def fitted_mask(mask: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """The mask, int32 [height, width], where the map will be compared; for windows it stays as it is."""
    if fit == "windows" or mask.shape == size:
        return mask
    picture = Image.fromarray(mask.astype(np.int32))
    if fit in ("stretch", "mismatch"):
        found = picture.resize((size[1], size[0]), Image.Resampling.NEAREST)
    else:
        found = middle(resized_short(picture, size, Image.Resampling.NEAREST), size)
    return np.asarray(found)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one side: every `stride`, and one at the very end.

    >>> window_starts(100, 64, 32)
    [0, 32, 36]
    """
    last = length - window
    return [*range(0, last, stride), last] if last > 0 else [0]


def windows(image: Image.Image, size: tuple[int, int]) -> list[tuple[int, int]]:
    """(top, left) of the windows of a covering picture, half a window apart."""
    height, width = size
    return [
        (top, left)
        for top in window_starts(image.height, height, max(1, height // 2))
        for left in window_starts(image.width, width, max(1, width // 2))
    ]


def cut(picture: Image.Image, size: tuple[int, int]) -> tuple[list[tuple[int, int]], list[Image.Image]]:
    """Where the windows of a covering picture are, and what is in each."""
    places = windows(picture, size)
    return places, [picture.crop((left, top, left + size[1], top + size[0])) for top, left in places]


def stitched(
    maps: Float[Tensor, "window text row column"],
    places: list[tuple[int, int]],
    size: tuple[int, int],
    whole: tuple[int, int],
    share: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, "text height width"]:
    """Windows' maps up-sampled, laid where they came from and averaged where they overlap. share: of a window that its
    map covers."""
    grown = placed(maps, size, share)
    total, count = grown.new_zeros(grown.shape[1], *whole), grown.new_zeros(*whole)
    for found, (top, left) in zip(grown, places, strict=True):
        total[:, top : top + size[0], left : left + size[1]] += found
        count[top : top + size[0], left : left + size[1]] += 1
    return total / count


def scale_of(model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """The size of a picture that preprocessing is made for: that of the model's world, or the tower's own."""
    return model.world.picture_size or size
