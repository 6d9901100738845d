"""Maps laid over the picture, and small pictures inside a page."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from ...maps.crop import box_of
from ...maps.heatmap import Heatmap, Original
from ...maps.look import each_laid_over
from ...maps.placing import share_of
from .question import Reading


def heatmap_of_grids(
    reading: Reading, grids: Sequence[Float[Tensor, "row column"]], names: Sequence[str], signed: bool = True
) -> Heatmap:
    """Maps of the patches of the picture of a reading."""
    size = (reading.picture.height, reading.picture.width)
    original = Original(size, lambda: reading.picture, partial(box_of, reading.model, size))
    return Heatmap(
        tuple(names), np.stack([grid.numpy() for grid in grids]), reading.seen, signed=signed,
        share=share_of(reading.model), model=reading.model.name, original=original,
    )  # fmt: skip


def overlays(
    reading: Reading,
    grids: Sequence[Float[Tensor, "row column"]],
    mark: tuple[float, float, float, float] | None = None,
    signed: bool = True,
) -> list[Image.Image]:
    """The picture below each of some maps, on one colour scale; mark: a box that is drawn around."""
    found = each_laid_over(heatmap_of_grids(reading, grids, ["map"] * len(grids), signed))
    for one in found:
        if mark is not None:
            pen = ImageDraw.Draw(one)
            wide = max(1, round(max(one.size) / 300))
            pen.rectangle(mark, outline=(255, 255, 255), width=2 * wide)
            pen.rectangle(mark, outline=(0, 0, 0), width=wide)
    return found


def data_uri(image: Image.Image, side: int | None = None) -> str:
    """A picture inside a page; side: its longest, small pictures are made larger in whole steps."""
    if side is not None and max(image.size) != side:
        small = max(image.size) < side
        factor = max(1, side // max(image.size)) if small else side / max(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
    found = io.BytesIO()
    image.convert("RGB").save(found, format="WEBP", quality=85)
    return f"data:image/webp;base64,{b64encode(found.getvalue()).decode()}"
