"""What can be asked of `summand atlas`."""

from __future__ import annotations

from dataclasses import dataclass

from .verb import at_least


@dataclass(frozen=True)
class AtlasOptions:
    """Label every head of the last layers and build a site that shows what each one sees, and where.

    The site is a folder of plain files (--out, by default atlas): open its index.html, no server needed.

    Examples:

    - summand atlas
    - summand atlas photos/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out b16
    - summand atlas scenes:count=5000,seed=3 --json

    Parameters
    ----------
    images
        A folder, a table, a zip, tars, scenes[:key=value,…], or a folder of `summand survey`.
    """

    pool: str | None = None
    """Description pool: a name or a text file [default: fits the model]."""
    layers: str | None = None
    """Layers whose heads get a page each, such as 8-11 [default: the last four]."""
    size: int = 10
    """Texts a head."""

    def __post_init__(self) -> None:
        at_least("size", self.size, 1)
