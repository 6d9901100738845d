"""Pictures as WebP: one small file an image, which all pages share, and the smallest of them on one sheet for the front
page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...data import ImageSource
from ...models import Model

SIDE, TINY = 160, 40
_ACROSS = 24
_QUALITY = 82


class Thumbnails:
    """Written to `folder` as the pass comes by them. Names are the images' numbers: no name of a file of the user
    becomes a name of a file here."""

    def __init__(self, model: Model, source: ImageSource, folder: Path) -> None:
        self.model, self.source, self.folder = model, source, folder
        self.written: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, images: Sequence[int], pictures: Sequence[np.ndarray]) -> None:
        """pictures: as the model saw them, uint8 [height, width, 3]; of a world of small pictures they are as given."""
        for image, seen in zip(images, pictures, strict=True):
            picture = Image.fromarray(seen)
            picture = self._as_given(image) or picture
            picture.thumbnail((SIDE, SIDE))
            picture.convert("RGB").save(self.folder / file_of(image), quality=_QUALITY, method=4)
            self.written.add(image)

    def _as_given(self, image: int) -> Image.Image | None:
        """A picture of the size that the model's world has; None of others, and of one that is gone meanwhile."""
        size = self.model.world.picture_size
        if size is None:
            return None
        try:
            picture = self.source.image(image)
        except OSError:
            return None
        return picture if picture.size == size[::-1] else None

    def sheet(self, images: Sequence[int], path: Path) -> Mapping[int, tuple[int, int]]:
        """One picture of tiny ones; image → its column and row there. Images that were not written are left out."""
        there = [image for image in dict.fromkeys(images) if image in self.written]
        rows = max(1, -(-len(there) // _ACROSS))
        whole = Image.new("RGB", (TINY * min(_ACROSS, max(1, len(there))), TINY * rows), "#888888")
        places = {}
        for at, image in enumerate(there):
            column, row = at % _ACROSS, at // _ACROSS
            with Image.open(self.folder / file_of(image)) as picture:
                whole.paste(square(picture.convert("RGB"), TINY), (TINY * column, TINY * row))
            places[image] = (column, row)
        whole.save(path, quality=_QUALITY, method=4)
        return places


def file_of(image: int) -> str:
    return f"{image:06d}.webp"


def square(picture: Image.Image, side: int) -> Image.Image:
    """The middle square, at a size."""
    least = min(picture.size)
    left, upper = (picture.width - least) // 2, (picture.height - least) // 2
    return picture.crop((left, upper, left + least, upper + least)).resize((side, side), Image.Resampling.LANCZOS)
