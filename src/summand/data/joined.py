"""Several sources, one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .naming import joined_name


class Joined:
    """Images numbered on through several sources. An image's name is that of its source and its own there."""

    def __init__(self, sources: Sequence[Any]) -> None:
        self.sources = tuple(sources)
        self.starts = np.concatenate([[0], np.cumsum([len(source) for source in self.sources])]).astype(int)
        self.label = " + ".join(source.label for source in self.sources)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _place(self, index: int) -> tuple[Any, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.label} holds {len(self)} images; there is no image {index}")
        which = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.sources[which], int(index - self.starts[which])

    def name(self, index: int) -> str:
        source, own = self._place(index)
        return joined_name(source.label, source.name(own))

    def image(self, index: int) -> Any:
        source, own = self._place(index)
        return source.image(own)

    def attributes(self) -> None:
        return None
