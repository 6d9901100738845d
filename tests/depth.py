"""How deep the tests look: `make test` at few examples of a space, `make test-deep` (nightly) at many."""

from __future__ import annotations

import os

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


def deep(many: int, few: int) -> int:
    """So many in `make test-deep`, so few in `make test`."""
    return many if DEEP else few
