"""`summand pools`: the description pools."""

from __future__ import annotations

from typing import Any

from .adapter import command


@command
def pools(pool: str | None = None) -> Any:
    """List the description pools, or the texts of one.

    Examples:

    - summand pools
    - summand pools general | head

    Parameters
    ----------
    pool
        Print the texts of this pool, or of a text file.
    """
    from ..studies.inspect.pools import pools as verb

    return verb(pool)
