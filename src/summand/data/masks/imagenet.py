"""ImageNet-Segmentation: `gtsegs_ijcv.mat`, 4,276 pictures with figure and ground (Guillaumin et al. 2014)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import SummandError
from .base import Masked, MaskSource, spread

TREE = """  gtsegs_ijcv.mat, an HDF5 file (MATLAB v7.3) with
    /value/img [image, 1]  references to uint8 [3, width, height]
    /value/gt  [image, 1]  references to [1, 1], a reference to uint8 [width, height], 1 on the figure
    /value/id  [image, 1]  references to the picture's name (optional)"""


def imagenet_segmentation(path: Path, count: int | None) -> MaskSource:
    """Figures and grounds; no classes beside the pictures, so that the model's own prediction is asked for.

    Raises `SummandError` for a file that is not laid out so, and where h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise SummandError("reading a .mat of MATLAB v7.3 needs h5py: pip install 'summand-clip[data]'") from error
    try:
        opened: Any = h5py.File(path, "r")
    except OSError as error:
        raise SummandError(f"{path} is not an HDF5 file. Expected\n{TREE}") from error
    for key in ("value/img", "value/gt"):
        if key not in opened:
            raise SummandError(f"{path} has no /{key}. Expected\n{TREE}")
    images, truths, names = opened["value/img"], opened["value/gt"], opened.get("value/id")
    rows = spread(list(range(len(images))), count)

    def read(index: int) -> Masked:
        row = rows[index]
        name = f"image {row}"
        if names is not None:
            letters = np.asarray(opened[names[row, 0]]).reshape(-1)
            name = "".join(chr(int(letter)) for letter in letters)
        try:
            picture = np.asarray(opened[images[row, 0]]).transpose(2, 1, 0)
            mask = np.asarray(opened[opened[truths[row, 0]][0, 0]]).T
        except (ValueError, TypeError, AttributeError) as error:
            raise SummandError(
                f"{path}: picture {row} is not laid out as expected ({error}). Expected\n{TREE}"
            ) from None
        if mask.shape != picture.shape[:2]:
            raise SummandError(f"{name}: the mask is {mask.shape}, the image {picture.shape[:2]} (rows, columns)")
        return Masked(name, Image.fromarray(picture.astype(np.uint8)).convert("RGB"), (mask > 0).astype(np.int32))

    return MaskSource(str(path), _imagenet_classes(), len(rows), read, figures=True)


def _imagenet_classes() -> tuple[str, ...]:
    from open_clip import IMAGENET_CLASSNAMES

    return tuple(IMAGENET_CLASSNAMES)
