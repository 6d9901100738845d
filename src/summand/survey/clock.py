"""When a pass saves what it knows."""

from __future__ import annotations

import time

_SHARE = 20  # at most a twentieth of the time goes into saving


class Clock:
    """When to save next."""

    def __init__(self, every: float) -> None:
        self.every, self._last, self._cost = every, time.monotonic(), 0.0

    def due(self) -> bool:
        wait = max(self.every, _SHARE * self._cost) if self.every else 0.0
        return time.monotonic() - self._last >= wait

    def __enter__(self) -> None:
        self._last = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._cost, self._last = time.monotonic() - self._last, time.monotonic()
