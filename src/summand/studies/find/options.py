"""What can be asked of `find`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..verb import at_least


@dataclass(frozen=True)
class FindOptions:
    """Find the units of a survey that write a text or a picture; or audit them all.

    An audit says of every unit whether it is about one thing, about several, or the like of another, from its strongest
    images among those kept aside.

    Examples:

    - summand find run striped
    - summand find run "a red star" --by cosine --top 20
    - summand find run scene.png --out found
    - summand find run --audit --out audit --json

    Parameters
    ----------
    survey
        The folder of a survey; a labelled one also says its words.
    query
        A text in quotes, or a picture; left out with --audit.
    """

    audit: bool = False
    """Look at all units, and ask for none."""
    by: Literal["evidence", "cosine"] = "evidence"
    """What ranks units: how well the query predicts them on held-out images, or how near its direction is."""
    top: int = 10
    """Units that are listed."""
    most: int | None = None
    """Audit only so many units, those that vary most."""

    def __post_init__(self) -> None:
        for name in ("top", "most"):
            at_least(name, getattr(self, name), 1)
