"""The stated protocol of a segmentation run, and what a run finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ...data import Skipped
from ...data.masks import MaskSource
from ...errors import SummandError
from ...maps.windows import FITS, Fit, check_fit
from ..perturbation.options import PerturbationOptions


@dataclass(frozen=True)
class Protocol:
    """What is asked, and how maps become masks; printed with every table.

    asked: the "true" class or the one that the model has "predicted". fit: one of `FITS`. threshold: what a map, scaled
    to 0 … 1 per picture, must exceed on the figure: a number or "mean"; None: the method's published one. paper: every
    method and every score as published, so that pictures without a figure count too and "mean" is the mean of the whole
    map, unlabelled pixels with it. `Protocol.published()` is that of papers A and C.
    """

    asked: Literal["true", "predicted"] = "true"
    fit: Fit = "crop"
    threshold: float | Literal["mean"] | None = 0.5
    paper: bool = False

    def __post_init__(self) -> None:
        check_fit(self.fit)
        if self.asked not in ("true", "predicted"):
            raise SummandError(f"asked must be 'true' or 'predicted', got {self.asked!r}")
        known = self.threshold in (None, "mean")
        if not known and not (isinstance(self.threshold, (int, float)) and 0 <= float(self.threshold) < 1):
            raise SummandError(f"threshold must be 'mean' or a number from 0 to below 1, got {self.threshold!r}")

    @staticmethod
    def published() -> Protocol:
        return Protocol(asked="predicted", fit="mismatch", threshold=None, paper=True)

    def describe(self, task: Literal["figures", "classes"] = "figures") -> str:
        """In words; task: what `Scores.task` says of the data."""
        if task == "classes":
            threshold = {None: 0.5, "mean": "its mean"}.get(self.threshold, self.threshold)
            return (
                f"each pixel is of the class whose map is largest there; {FITS[self.fit]}; background (if the data "
                f"have one) where the largest map, scaled to 0 … 1 per picture, stays below {threshold}"
            )
        asked = "the true class" if self.asked == "true" else "the class that the model predicts"
        threshold = {None: "as published for each method", "mean": "the map's mean"}.get(self.threshold, self.threshold)
        empty = "; pictures without a figure count, as published" if self.paper else ""
        return f"map of {asked}; {FITS[self.fit]}; scaled to 0 … 1 per picture; threshold {threshold}{empty}"


@dataclass(frozen=True)
class Example:
    """A picture, what was asked, its mask, and the map of each method, for figures."""

    name: str
    picture: np.ndarray
    text: str
    mask: np.ndarray
    maps: dict[str, np.ndarray]


@dataclass(frozen=True)
class Scores:
    """What a run found: scores of each method, and of each picture, with examples. `cost`: in encode_image's; the pass
    that baselines share counts for each of them."""

    scores: dict[str, dict[str, float]]
    per_image: pd.DataFrame
    examples: list[Example]
    images: int
    skipped: tuple[Skipped, ...]
    protocol: Protocol
    task: str


def of_figures(source: MaskSource, protocol: Protocol, perturbation: PerturbationOptions | None) -> bool:
    """Whether one figure a picture is scored, and not all classes at once. Raises `SummandError` for a protocol that
    does not fit the source."""
    figures = source.figures or protocol.asked == "predicted"
    if not source.figures and protocol.asked == "predicted" and source.background is None:
        raise SummandError(
            f"{source.label} has no background, so a predicted class has no figure and ground; use the true classes "
            f"(asked='true')"
        )
    if not figures and len(source.classes) < 2:
        raise SummandError(
            f"{source.label} has one class, {', '.join(map(repr, source.classes))}, so every pixel is of it; list a "
            f"second class, or 'background', in its class list"
        )
    if perturbation is not None and (not figures or protocol.fit == "windows"):
        raise SummandError("perturbation is of the map of one text over one picture: ask for figures, without windows")
    return figures
