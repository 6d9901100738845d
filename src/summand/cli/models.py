"""`summand models`: every model, and whether its sum is exact."""

from __future__ import annotations

from typing import Any

from .adapter import command


@command
def models() -> Any:
    """List every model by name, with its image tower, the terms of its sum, and whether the sum is exact.

    Examples:

    - summand models
    - summand models --json
    """
    from ..studies.inspect.models import models as verb

    return verb()
