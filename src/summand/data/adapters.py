"""Images in whatever form a caller has them, as an `ImageSource`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import SummandError, first_line
from .pictures import as_rgb, read_image
from .skips import Skipped, skip
from .sources import EXTENSIONS, ImageSource, Some, open_source

_FORMS = (
    "a source string, a path, a picture, an array [image, row, column, 3] of uint8, preprocessed pixels [image, 3, "
    "height, width], a list of these, a Dataset or a DataLoader"
)


def open_images(images: Any, count: int | None = None) -> ImageSource:
    """An image source of anything that holds images. count: use at most so many.

    Raises `SummandError` for what holds none, with the forms there are.
    """
    if count is not None and count < 1:
        raise SummandError(f"count must be at least 1, got {count}")
    if isinstance(images, (str, Path)):
        path = Path(images).expanduser()
        if path.is_file() and path.suffix.lower() in EXTENSIONS:
            return ListedImages([path])
        return open_source(str(images), count)
    if isinstance(images, ImageSource):
        return images if count is None or count >= len(images) else Some(images, np.arange(count))
    if isinstance(images, Image.Image):
        images = [images]
    items: Any = images
    if isinstance(images, torch.utils.data.DataLoader):
        items = images.dataset  # its own batches and their order do not matter here
    if isinstance(items, (np.ndarray, Tensor)) and items.ndim == 3:
        items = items[None]
    many = hasattr(items, "__len__") and hasattr(items, "__getitem__") and getattr(items, "shape", None) != ()
    if not many or isinstance(items, (dict, bytes)):
        raise SummandError(f"expected images as {_FORMS}; got {type(images).__name__}")
    if isinstance(items, torch.utils.data.IterableDataset):
        raise SummandError("images are read more than once and by number; give a Dataset that is no stream, or a list")
    if not len(items):
        raise SummandError(f"there are no images in this {type(images).__name__}")
    return ListedImages(items, count)


class ListedImages:
    """Images by number from a list, an array or a data set. A path is a file; a pair (image, label) or a dictionary
    with "image" is its image. Float tensors [3, height, width] are pixels that are preprocessed already."""

    def __init__(self, items: Any, count: int | None = None) -> None:
        self._items, self._count = items, len(items) if count is None else min(count, len(items))
        plural = "" if self._count == 1 else "s"
        self.label = f"{self._count} image{plural} in memory"

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        item = self._items[index] if isinstance(self._items, (list, tuple)) else None
        return str(item) if isinstance(item, (str, Path)) else f"image {index}"

    def _item(self, index: int) -> Any:
        """Raises `OSError`, as a file does, for what a data set of the caller's raises: that image cannot be read."""
        try:
            item = self._items[index]
        except (OSError, SummandError, MemoryError):
            raise
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {first_line(error)}") from error
        if isinstance(item, dict):
            item = next((item[key] for key in ("image", "img", "pixel_values") if key in item), item)
        return item[0] if isinstance(item, (tuple, list)) and len(item) else item

    def image(self, index: int) -> Image.Image:
        """As a picture; preprocessed pixels are stretched to the range that can be seen."""
        item = self._item(index)
        if isinstance(item, Tensor) and item.dtype.is_floating_point:
            low, high = item.min(), item.max()
            item = ((item - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
        if isinstance(item, Tensor):
            item = (item.permute(1, 2, 0) if item.ndim == 3 and item.shape[0] in (1, 3) else item).cpu().numpy()
        if isinstance(item, (str, Path)):
            return read_image(Path(item).expanduser())
        if isinstance(item, np.ndarray) and item.dtype == np.uint8:
            return _rgb(lambda: Image.fromarray(item.squeeze(-1) if item.shape[-1] == 1 else item))
        if isinstance(item, Image.Image):
            return _rgb(lambda: item)
        kind = f"an array of {item.dtype}" if isinstance(item, np.ndarray) else type(item).__name__
        raise SummandError(f"image {index} is {kind}; expected images as {_FORMS}")

    def batch(
        self, indices: Sequence[int], skipped: list[Skipped]
    ) -> tuple[list[int], list[Image.Image] | np.ndarray | Tensor] | None:
        """What can be had as one tensor, and of which images: preprocessed pixels, or uint8 arrays of one size; None
        for all else. Raises `SummandError` for pixels of several sizes."""
        if isinstance(self._items, np.ndarray) and self._items.dtype == np.uint8 and self._items.ndim == 4:
            return (list(indices), self._items[np.asarray(indices)]) if self._items.shape[-1] == 3 else None
        read: list[int] = []
        pixels: list[Tensor] = []
        faults: list[tuple[int, OSError]] = []
        for index in map(int, indices):
            try:
                item = self._item(index)
            except OSError as error:
                faults.append((index, error))
                continue
            if not (isinstance(item, Tensor) and item.dtype.is_floating_point and item.ndim == 3) and not pixels:
                return None  # pictures, which are read one by one
            read.append(index)
            pixels.append(item)
            if not isinstance(item, Tensor) or item.shape != pixels[0].shape:
                found = list(item.shape) if isinstance(item, Tensor) else type(item).__name__
                raise SummandError(
                    f"image {index} is {found}, and image {read[0]} preprocessed pixels {list(pixels[0].shape)}; give "
                    f"all in one form and of one size"
                )
        for index, error in faults if pixels else ():
            skip(skipped, self.name(index), error)
        return (read, torch.stack(pixels)) if pixels else None

    @cached_property
    def content(self) -> str:
        """SHA-256 over what the images hold, which no name tells."""
        seen = hashlib.sha256()
        for index in range(len(self)):
            try:
                seen.update(_bytes(self._item(index), lambda index=index: self.image(index)))
            except OSError:
                seen.update(b"unreadable")
        return seen.hexdigest()

    def attributes(self) -> None:
        return None


def _rgb(made: Callable[[], Image.Image]) -> Image.Image:
    """Raises `OSError`, as a file does, for a picture that cannot be read."""
    try:
        return as_rgb(made())
    except (SummandError, TypeError, ValueError) as error:
        raise OSError(first_line(error)) from error


def _bytes(item: Any, picture: Callable[[], Image.Image]) -> bytes:
    if isinstance(item, (str, Path)):
        path = Path(item).expanduser()
        state = path.stat() if path.is_file() else None
        return f"{path.absolute()} {state and (state.st_size, state.st_mtime_ns)}".encode()
    if isinstance(item, Tensor):
        return f"{item.dtype} {list(item.shape)}".encode() + item.detach().cpu().float().numpy().tobytes()
    if isinstance(item, np.ndarray):
        return f"{item.dtype} {item.shape}".encode() + np.ascontiguousarray(item).tobytes()
    shown = picture()
    return f"{shown.size}".encode() + shown.tobytes()
