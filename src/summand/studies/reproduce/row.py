"""What a table or figure of a paper is here: its numbers, its protocol, and the claim that must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .job import Job


LITTLE, NOTHING = 0.10, 0.02
"""What counts as a little, and as next to nothing: so much of the accuracy of the model as it is. What the papers call
so is at most half of it (paper C: 3.2 of 70.2 points, and 1.1 of 78.0)."""


@dataclass(frozen=True)
class Weights:
    """A model by its name and tag in open_clip; the models of the scenes have no tag."""

    name: str
    tag: str | None = None


@dataclass(frozen=True)
class Claim:
    """What a paper says in words, whether it holds here, and the numbers that say so. why: the reason that was looked
    for where it does not hold."""

    says: str
    holds: bool
    numbers: str
    why: str = ""


@dataclass(frozen=True)
class Curve:
    """A line of a figure. panel: its title; axis, measure: what x and y are; level: y of a line without x."""

    panel: str
    series: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    axis: str = "layer"
    measure: str = "zero-shot accuracy, %"


@dataclass
class Found:
    """What a protocol measured: numbers by what they are, claims, lines of the figure, words (of units, say), notes."""

    numbers: dict[str, float] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    words: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A table or figure of a paper.

    id: such as "C:table3". published: what → number; where the paper has several models, what begins with the model's
    name. measure: the protocol, on the paper's data or on scenes as the job says. models: the paper's; on_scenes: those
    that its claim is tried on. needs: data sets by name. passes: forward passes an image, about. deviates: where this
    differs from what was published, and why. images: how many are scored; stored: the units whose statistics the
    folder of the run keeps ("neurons": of all layers, "layer": of the one that is studied).
    """

    id: str
    title: str
    measure: Callable[[Job], Found]
    models: tuple[Weights, ...]
    needs: tuple[str, ...]
    published: Mapping[str, float] = field(default_factory=dict)
    on_scenes: tuple[str, ...] = ("scenes-vit",)
    passes: float = 2.0
    deviates: tuple[str, ...] = ()
    images: int = 50_000
    stored: str = ""

    @property
    def paper(self) -> str:
        """A, B or C."""
        return self.id.partition(":")[0]


LAION = (
    Weights("ViT-B-16", "laion2b_s34b_b88k"),
    Weights("ViT-L-14", "laion2b_s32b_b82k"),
    Weights("ViT-H-14", "laion2b_s32b_b79k"),
)
L14 = LAION[1]
B32 = Weights("ViT-B-32", "openai")
RN50X16 = Weights("RN50x16", "openai")

PAPERS = {
    "C": "Interpreting CLIP's Image Representation via Text-Based Decomposition (ICLR 2024)",
    "A": "Interpreting the Second-Order Effects of Neurons in CLIP (ICLR 2025)",
    "B": "Interpreting ResNet-based CLIP via Neuron-Attention Decomposition (2025)",
}
