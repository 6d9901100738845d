"""One picture or many, in any form, as they are read one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ...data import Skipped
from ...data.adapters import open_images
from ...data.pictures import as_picture
from ...data.schemes import is_source
from ...data.skips import skip
from ...errors import SummandError
from ...maps.drawing import Picture


@dataclass(frozen=True)
class Pictures:
    """label: of all of them. names: of each. read(index): one, which raises `OSError` where it is broken. single:
    whether one picture was given, and no list of them. source: what the warning of strange pictures looks at."""

    label: str
    names: tuple[str, ...]
    read: Callable[[int], Image.Image]
    single: bool
    source: Any = None

    def __len__(self) -> int:
        return len(self.names)

    def batches(self, size: int, skipped: list[Skipped]) -> Iterator[list[Picture]]:
        """All that can be read, some at a time."""
        for start in range(0, len(self), size):
            found = []
            for index in range(start, min(start + size, len(self))):
                try:
                    image = self.read(index)
                except OSError as error:
                    skip(skipped, self.names[index], error)
                    continue
                found.append(Picture(self.names[index], image, partial(self.read, index)))
            yield found


def opened(given: Any, count: int | None = None) -> Pictures:
    """A path or a PIL image or an array [height, width, 3]: one picture. A folder, a source string, a list, an array
    [image, height, width, 3], a Dataset, an opened source: many. Raises `SummandError` for what is none of these."""
    if isinstance(given, (str, os.PathLike)):
        path, text = Path(given).expanduser(), str(given)
        if not is_source(text):
            image = as_picture(path)
            return Pictures(text, (path.name,), lambda _: image, True, image)
        given = text
    elif isinstance(given, Image.Image) or (isinstance(given, np.ndarray) and given.ndim == 3):
        image = as_picture(given)
        return Pictures("a picture", ("",), lambda _: image, True, image)
    elif isinstance(given, Tensor) and given.is_floating_point():
        raise SummandError("maps lie in the coordinates of a picture; give pictures or uint8 arrays, not pixels")
    source = open_images(given, count)
    return Pictures(source.label, tuple(map(source.name, range(len(source)))), source.image, False, source)
