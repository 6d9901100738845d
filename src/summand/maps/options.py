"""What can be asked of `heatmap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SummandError, nearest


@dataclass(frozen=True)
class HeatmapOptions:
    """Show which parts of a picture speak for a text, and which against it.

    Examples:

    - summand heatmap scene.png "a star" --out star.png
    - summand heatmap scene.png "a red star" --versus "a blue ring"
    - summand heatmap photos/ "a dog" "grass" --out maps --model ViT-B-16 --pretrained laion2b_s34b_b88k
    - summand heatmap dog.jpg "a dog" --method chefer --overlay --colours magma --opacity 0.5
    - summand heatmap scene.png --head 5.3 --reference scenes:count=500
    - summand heatmap scene.png --neuron 4:120
    - summand heatmap scene.png "a star" --latent 3#17 --sae saes/layer3
    - summand heatmap street.jpg "a bicycle" --windows 2 --model ViT-B-16 --pretrained openai
    - summand heatmap scene.png "a star" --pair 62x3 --model scenes-rn

    Parameters
    ----------
    images
        A picture; or many, each drawn in the folder of --out: a folder, a table, a zip, tars, or scenes.
    texts
        One or several texts, in quotes.
    array
        Also write the maps, in the coordinates of the picture: a name in .npz, or a folder for many pictures.
    """

    versus: str | None = None
    """Compare the one text with this one."""
    contrast: str | Sequence[str] | None = None
    """Texts whose mean is taken away: a pool (classes: ImageNet's), a text file, or texts themselves [default: a
    spread of the model's own pool; none for methods that are published without]."""
    method: str | None = None
    """How the map is drawn: any method of summand segment [default: the token decomposition]."""
    head: str | None = None
    """Only this head, such as 22.11; without texts, its most and least similar ones."""
    neuron: str | None = None
    """A neuron's activations, such as 9:2914; needs no text."""
    pair: str | None = None
    """A neuron–head pair of an attention pool, such as 624x21."""
    latent: str | None = None
    """A latent of --sae, such as 9#1234: where it is active; along texts, what it adds to them from where."""
    pool: str | Sequence[str] | None = None
    """Texts that a head is labelled with, where none are given."""
    reference: str | None = None
    """Images that a head is labelled on, or that a method learns directions of neurons from [default: scenes for the
    scenes models]."""
    windows: int | None = None
    """Read the whole picture in overlapping windows, so many along its short side."""
    overlay: bool = False
    """Draw the maps over the picture alone, in its own size: no titles, no bar."""
    colours: str | None = None
    """A colour map of matplotlib [default: RdBu_r; viridis where nothing is below zero]."""
    opacity: float = 0.6
    """How much of the picture a map covers, from 0 to 1."""
    count: int | None = None
    """Use at most so many pictures."""
    batch_size: int = 32
    """Images a forward pass."""

    def __post_init__(self) -> None:
        parts = [name for name in ("head", "neuron", "pair", "latent", "method") if getattr(self, name) is not None]
        if len(parts) > 1:
            raise SummandError(f"one part at a time: {' and '.join(parts)} were given")
        if self.neuron is not None and (self.versus or self.contrast):
            raise SummandError("a neuron's activations need no text; leave the texts, versus and contrast out")
        if self.versus is not None and self.contrast is not None:
            raise SummandError("give versus, one text to compare with, or contrast, texts whose mean is taken away")
        if self.windows is not None and self.windows < 1:
            raise SummandError(f"windows must be at least 1, along the picture's short side; got {self.windows}")
        for name in ("count", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SummandError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.opacity <= 1:
            raise SummandError(f"opacity must be from 0 to 1, got {self.opacity}")
        if self.colours is not None:
            _check_colours(self.colours)

    def check_texts(self, texts: Sequence[str]) -> None:
        """Raises `SummandError` for texts that do not go with the other options."""
        if self.neuron is not None and texts:
            raise SummandError("a neuron's activations need no text; leave the texts, versus and contrast out")
        if not texts and (self.versus or self.contrast) and self.latent is not None:
            raise SummandError("versus and contrast are of texts: give one, or leave them out for where it is active")
        if not texts and self.neuron is None and self.head is None and self.latent is None:
            more = "a pair's map is along a text: give one" if self.pair is not None else "or a head, neuron or latent"
            raise SummandError(f"expected at least one text; {more}")
        if self.versus is not None and len(texts) != 1:
            raise SummandError(f"versus compares one text with another, got {len(texts)} texts")
        if self.pool is not None and (self.head is None or texts):
            raise SummandError("pool labels a head: use it with head=LAYER.HEAD and without texts")
        if self.reference is not None and self.method is None and (self.head is None or texts):
            raise SummandError("reference labels a head, or is what a method learns from: give head=… without texts, "
                               "or method=…")  # fmt: skip


def _check_colours(name: Any) -> None:
    from matplotlib import colormaps

    if name not in colormaps:
        raise SummandError(f"matplotlib has no colour map {name!r}{nearest(str(name), list(colormaps))}")
