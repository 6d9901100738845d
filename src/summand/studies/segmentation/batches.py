"""What goes through the model: batches of pictures with masks."""

from __future__ import annotations

from collections.abc import Iterator

from ...data import Skipped
from ...data.masks import Masked, MaskSource
from ...data.skips import skip


def batches_of(source: MaskSource, size: int, skipped: list[Skipped]) -> Iterator[list[tuple[int, Masked]]]:
    for start in range(0, len(source), size):
        found = []
        for index in range(start, min(start + size, len(source))):
            try:
                found.append((index, source.read(index)))
            except OSError as error:
                skip(skipped, source.name(index), error)
        if found:
            yield found
