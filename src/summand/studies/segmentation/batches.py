"""What goes through the model: batches of pictures with masks."""

from __future__ import annotations

from collections.abc import Iterator

from ...data import Skipped
from ...data.masks import Masked, MaskSource


def batches_of(source: MaskSource, size: int, skipped: list[Skipped]) -> Iterator[list[tuple[int, Masked]]]:
    for start in range(0, len(source), size):
        found = []
        for index in range(start, min(start + size, len(source))):
            try:
                found.append((index, source.read(index)))
            except OSError as error:
                skipped.append(Skipped(source.name(index), str(error) or type(error).__name__))
        if found:
            yield found
