"""How far a pass is, and the parts of it that are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data import Skipped


@dataclass(frozen=True)
class Stage:
    """One time through some images of a source. again: they have been read before; those that could not be are left
    out."""

    name: str
    indices: np.ndarray
    again: bool = False


@dataclass
class Shard:
    """Images of a stage that are done: those at `start` to below `stop` of its plan. unreadable: the numbers of those
    that were skipped. residual: |Σ − encode_image| of the first batch, relative."""

    stage: int
    start: int
    stop: int
    seconds: float = 0.0
    residual: float | None = None
    unreadable: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def with_next(self, other: Shard) -> Shard:
        """This one and the one behind it."""
        return Shard(
            self.stage,
            self.start,
            other.stop,
            self.seconds + other.seconds,
            other.residual if self.residual is None else self.residual,
            self.unreadable + other.unreadable,
            self.skipped + other.skipped,
        )


@dataclass
class Position:
    """How far a pass is: `passed` images, of all stages together; what was skipped on the way; the residual of the
    first batch."""

    passed: int = 0
    seconds: float = 0.0
    residual: float | None = None
    unreadable: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Images that went through the model, of all stages together."""
        return self.passed - len(self.unreadable)

    def take(self, shard: Shard) -> None:
        self.passed += shard.stop - shard.start
        self.seconds += shard.seconds
        self.residual = shard.residual if self.residual is None else self.residual
        self.unreadable += shard.unreadable
        self.skipped += shard.skipped


def skipped_rows(skipped: Sequence[Skipped]) -> tuple[dict[str, str], ...]:
    """For the manifest, each file once."""
    first: dict[str, str] = {}
    for item in skipped:
        first.setdefault(item.name, item.reason)
    return tuple({"name": name, "reason": reason} for name, reason in first.items())
