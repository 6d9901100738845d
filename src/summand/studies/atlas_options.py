"""What can be asked of `summand atlas`."""

from __future__ import annotations

from dataclasses import dataclass

from .verb import at_least


@dataclass(frozen=True)
class AtlasOptions:
    """A site that shows what each head, neuron or pair sees, in words and pictures, and where; with a search.

    The site is a folder of plain files (--out, by default atlas): open its index.html, no server needed. Of images a
    survey is made first; of a survey nothing is changed.

    Examples:

    - summand atlas --open
    - summand atlas run/ --out site
    - summand atlas photos/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out b16
    - summand atlas scenes:count=5000,seed=3 --units heads --json

    Parameters
    ----------
    images
        A folder, a table, a zip, tars, scenes[:key=value,…], or a folder of `summand survey`.
    """

    pool: str | None = None
    """Description pool: a name or a text file [default: that of the survey's labels, else what fits the model]."""
    units: str | None = None
    """Of images: heads, neurons, neurons:8-10, pairs, with commas between [default: heads, and the neurons of two late
    layers or the pairs]."""
    layers: str | None = None
    """Layers whose heads get a page each, such as 8-11 [default: all]."""
    size: int = 10
    """Texts that span a head."""
    examples: int = 8
    """Images beside each of the things that a unit says."""
    most: int = 4096
    """Neurons of a layer, or pairs, that get a page, the most important ones."""
    pictures: int = 48
    """Images that get a page of their own."""
    classes: str | None = None
    """For what ablation does: classes of the images as in ablate (names, a file, imagenet), or folders [default: of
    scenes all attributes, else none]."""
    no_images: bool = False
    """Copy no pictures, where the licence of the data forbids it."""
    open: bool = False
    """Show the site in the browser."""

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("examples", 1), ("most", 1), ("pictures", 0)):
            at_least(name, getattr(self, name), least)
