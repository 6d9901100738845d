"""What can be asked of `segment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..perturbation.options import Answer, Fill
from ..verb import OptionError, at_least, one_of

Asked = Literal["true", "predicted"]
Fit = Literal["crop", "stretch", "mismatch", "windows"]
Shape = Literal["signed", "clipped", "root"]
Weighting = Literal["mean", "signed", "weighted"]
By = Literal["shape", "colour", "texture"]
_LITERALS = {"asked": Asked, "fit": Fit, "shape": Shape, "weighting": Weighting, "by": By, "fill": Fill,
             "answer": Answer}  # fmt: skip


@dataclass(frozen=True)
class SegmentOptions:
    """Segment a data set by maps of its class names, and score every method under one stated protocol.

    Examples:

    - summand segment scenes:groups=2,count=200 --methods all --out segments
    - summand segment scenes:groups=2,count=100 --methods decomposition,chefer,random --perturbation
    - summand segment gtsegs_ijcv.mat --protocol paper --model ViT-B-32 --pretrained openai --reference photos/
    - summand segment context59:VOCdevkit/VOC2010 --fit windows --methods pairs --model RN50x16 --pretrained openai

    Parameters
    ----------
    data
        scenes, gtsegs_ijcv.mat, a path behind its format (voc2012, context59, ade20k, coco-panoptic, coco-stuff), or a
        folder with images/, masks/ and classes.txt.
    """

    methods: str | Sequence[str] | None = None
    """all, or names with commas between [default: those that are best on scenes]."""
    protocol: Literal["paper"] | None = None
    """paper: predicted class, published methods, cropped image, stretched mask."""
    asked: Asked | None = None
    """Draw the map of the true class or of the one that the model predicts [default: true]."""
    fit: Fit | None = None
    """How a picture meets the model's square [default: crop]."""
    threshold: float | Literal["mean"] | None = None
    """What a map, scaled to 0 … 1, exceeds on its figure: a number, or the map's mean [default: 0.5]."""
    by: By | None = None
    """Of scenes: all values of this attribute as classes."""
    count: int | None = None
    """Use at most so many pictures."""
    reference: str | None = None
    """Images to learn directions of neurons (published: pairs too) from [default: scenes, or the data]."""
    neurons_per_text: int | None = None
    """Of neuron maps: how many neurons a text is drawn by [default: 200]."""
    layers: str | Sequence[int] | None = None
    """Of neuron maps: which layers, such as 8-10 [default: as chosen on scenes]."""
    weighting: Weighting | None = None
    """Of neuron maps: mean is the published one [default: weighted]."""
    centre: bool | None = None
    """Take the mean of the class texts from each [default: as chosen on scenes]."""
    shape: Shape | None = None
    """Which part of a map is scored: all, what speaks for the text, or the root of that [default: as chosen on
    scenes]."""
    perturbation: bool = False
    """Also take patches away and put them back in a map's order, which asks the model and no mask (slow)."""
    steps: int = 10
    """Of perturbation: at how many equal shares of the patches."""
    fill: Fill = "mean"
    """Of perturbation: what stands where a patch is missing, the picture's mean colour or a blur of it."""
    answer: Answer = "probability"
    """Of perturbation: the class's softmax probability, or its cosine (logit)."""
    examples: int = 6
    """How many pictures the figure shows."""
    batch_size: int = 32
    """Images a forward pass."""

    def __post_init__(self) -> None:
        if self.protocol not in (None, "paper"):
            raise OptionError("protocol", f"must be 'paper' or be left out, got {self.protocol!r}")
        for name, kind in _LITERALS.items():
            if getattr(self, name) is not None:
                one_of(name, getattr(self, name), get_args(kind))
        number = isinstance(self.threshold, (int, float))
        if (number and not 0 <= float(self.threshold or 0) < 1) or not (number or self.threshold in (None, "mean")):
            raise OptionError("threshold", f"must be 'mean' or a number from 0 to below 1, got {self.threshold!r}")
        for name in ("count", "neurons_per_text", "steps", "batch_size"):
            at_least(name, getattr(self, name), 1)
        at_least("examples", self.examples, 0)
        if not self.perturbation:
            given = [name for name in ("steps", "fill", "answer") if getattr(self, name) != getattr(type(self), name)]
            if given:
                raise OptionError(
                    given[0], "says how patches are taken away: ask for perturbation=True, or leave it out"
                )
