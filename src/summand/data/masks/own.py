"""Own pictures and masks, at hand as lists or arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import SummandError
from ..pictures import as_picture, as_rgb
from .base import UNLABELLED, Masked, MaskSource, read_index_png

_IGNORED = 255


def own_masks(
    images: Sequence[Any] | np.ndarray, masks: Sequence[Any] | np.ndarray, classes: Sequence[str] | Mapping[int, str]
) -> MaskSource:
    """Pictures in any form (paths, PIL images, uint8 arrays) with their masks: arrays [height, width], PIL images or
    paths of index masks.

    Masks of numbers are semantic: classes names them, in their order or as {number: name}; "background" is never asked
    for, and neither −1 nor 255 counts where no class has that number. Masks of booleans say figure and ground: classes
    then names what the figure of each picture is, one name a picture.

    Raises `SummandError` for lists of different lengths, masks of another size than their picture, and numbers that no
    class has.
    """
    for what, given in (("images", images), ("masks", masks), ("classes", classes)):
        if isinstance(given, (str, bytes)) or not hasattr(given, "__len__"):
            raise SummandError(f"own masks are (images, masks, classes), a list each; {what} are {given!r:.60}")
    if not len(images) or len(images) != len(masks):
        raise SummandError(f"expected a mask for each image, got {len(images)} images and {len(masks)} masks")
    kinds = {_is_boolean(mask) for mask in masks}
    if len(kinds) > 1:
        raise SummandError("some masks are of booleans (figure and ground) and some of class numbers; give one kind")
    return _figures(images, masks, classes) if kinds.pop() else _semantic(images, masks, classes)


def _figures(images: Any, masks: Any, classes: Any) -> MaskSource:
    if isinstance(classes, Mapping) or len(classes) != len(images):
        raise SummandError(
            f"masks of booleans say figure and ground; name the figure of each picture: {len(images)} names, got "
            f"{len(classes)}"
        )
    names = tuple(dict.fromkeys(map(str, classes)))
    asked = [names.index(str(name)) for name in classes]

    def read(index: int) -> Masked:
        picture, mask = _pair(images[index], masks[index], index)
        return Masked(_name(images[index], index), picture, mask.astype(np.int32), asked[index])

    return MaskSource("own masks", names, len(images), read, figures=True, names=_names(images))


def _semantic(images: Any, masks: Any, classes: Any) -> MaskSource:
    named = dict(classes) if isinstance(classes, Mapping) else dict(enumerate(classes))
    names = tuple(map(str, named.values()))
    if len(set(names)) < len(names):
        raise SummandError(f"a class is named twice: {', '.join(names)}")
    table = {_IGNORED: UNLABELLED, UNLABELLED: UNLABELLED} | {int(number): i for i, number in enumerate(named)}

    def read(index: int) -> Masked:
        name, (picture, ids) = _name(images[index], index), _pair(images[index], masks[index], index)
        found, place = np.unique(ids, return_inverse=True)
        unknown = [str(number) for number in found.tolist() if number not in table]
        if unknown:
            raise SummandError(f"{name}: its mask holds {', '.join(unknown[:8])}, which no class has")
        values = np.array([table[number] for number in found.tolist()], dtype=np.int32)
        return Masked(name, picture, values[place].reshape(ids.shape))

    background = next((i for i, name in enumerate(names) if name.lower() == "background"), None)
    return MaskSource("own masks", names, len(images), read, background=background, names=_names(images))


def _pair(image: Any, mask: Any, index: int) -> tuple[Image.Image, np.ndarray]:
    picture, values = as_rgb(as_picture(image)), _values(mask)
    if values.shape != (picture.height, picture.width):
        raise SummandError(
            f"{_name(image, index)}: its mask is {list(values.shape)}, the picture {[picture.height, picture.width]}"
        )
    return picture, values


def _values(mask: Any) -> np.ndarray:
    if isinstance(mask, (str, Path)):
        return read_index_png(Path(mask).expanduser())
    values = np.asarray(mask.cpu() if hasattr(mask, "cpu") else mask)
    if values.ndim != 2 or not (values.dtype == bool or np.issubdtype(values.dtype, np.integer)):
        raise SummandError(
            f"a mask is [height, width] of whole numbers or booleans, got {values.dtype} {list(values.shape)}"
        )
    return values


def _is_boolean(mask: Any) -> bool:
    if isinstance(mask, Image.Image):
        return mask.mode == "1"
    return str(getattr(mask, "dtype", "")).removeprefix("torch.") == "bool"


def _name(image: Any, index: int) -> str:
    return Path(image).name if isinstance(image, (str, Path)) else f"picture {index}"


def _names(images: Any) -> tuple[str, ...]:
    return tuple(_name(image, index) for index, image in enumerate(images))
