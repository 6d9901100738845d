"""A Hugging Face data set that is read as it comes over the network, and never stored."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..border import foreign
from ..errors import SummandError, first_line
from .hub import content_of, image_column_of
from .pictures import read_image


class StreamedImages:
    """Images by number of what can only be read from its beginning: as many as the data set says it has, or as were
    asked for. One that lies behind the last is read on to; one before it starts anew.

    sequential: it is read in this process alone, for others would each read all of it.
    """

    sequential = True

    def __init__(self, rows: Any, column: str, label: str, count: int) -> None:
        self._rows, self._column, self.label, self._count = rows, column, label, count
        self._reading: Iterator[Any] | None = None
        self._next = 0

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return f"row {index}"

    def image(self, index: int) -> Image.Image:
        reading = self._reading
        if reading is None or index < self._next:
            reading = self._reading = iter(self._rows)
            self._next = 0
        try:
            while True:
                row = next(reading)
                self._next += 1
                if self._next > index:
                    break
        except StopIteration:
            self._reading = None
            raise OSError(f"the data set ends before row {index}") from None
        except Exception as error:  # of the network and of any format
            self._reading = None
            raise OSError(f"cannot be read: {first_line(error)}") from error
        return read_image(io.BytesIO(content_of(row[self._column])))

    def attributes(self) -> None:
        return None


def streamed_images(name: str, label: str, count: int | None = None) -> StreamedImages:
    """`hf-stream:NAME@split`. count: the first so many; by default all, where the data set says how many these are.

    Raises `SummandError` where it cannot be loaded, and where nobody says how many images there are.
    """
    try:
        import datasets
    except ImportError:
        raise SummandError(f"{label} needs the package datasets: pip install 'summand-clip[data]'") from None
    name, _, split = name.partition("@")
    try:
        found: Any = foreign(datasets.load_dataset(name, split=split or "train", streaming=True))
        column = image_column_of(found, datasets, label)
        plain = found.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        known = (found.info.splits or {}).get(split or "train")
    except SummandError:
        raise
    except Exception as error:  # its readers raise whatever their formats do
        raise SummandError(f"{label} cannot be loaded: {first_line(error)}") from error
    total = getattr(known, "num_examples", None) or None
    if total is None and count is None:
        raise SummandError(f"{label} does not say how many images it holds; say how many are to be read: --count")
    return StreamedImages(plain, column, label, min(one for one in (total, count) if one is not None))
