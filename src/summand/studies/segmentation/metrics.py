"""How well maps cover masks: pixel accuracy, IoU over the whole data set, average precision per picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_AT_ONCE = 64


def rescaled(maps: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
    """(m − min) / (max − min) of each map; a flat map becomes zeros."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


def average_precision(scores: Float[np.ndarray, " pixel"], truth: Bool[np.ndarray, " pixel"]) -> float:
    """Σ_k (R_k − R_{k−1}) P_k over the distinct scores, highest first, as scikit-learn has it; NaN: no positives."""
    positives = int(truth.sum())
    if positives == 0:
        return float("nan")
    order = np.argsort(-scores)  # the order of ties does not matter: they are counted together
    ranked, hits = scores[order], np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores
    found = hits[last]
    return float(np.sum(np.diff(found, prepend=0) * found / (last + 1)) / positives)


@dataclass(frozen=True)
class ImageScore:
    """One picture: pixel accuracy, mean IoU of figure and ground at the threshold, average precision of the two
    channels together (1 − map, map), as published, and of the figure alone."""

    pixel_accuracy: float
    iou: float
    two_channel: float
    figure: float


class FigureScores:
    """Accumulates figure-and-ground scores over a data set (Chefer et al. 2021, papers A and C).

    Pixel accuracy = Σ correct / Σ labelled; IoU_c = Σ intersection / Σ union over the data set for figure and ground
    (torchmetrics' MulticlassJaccardIndex), mIoU their mean; mAP = mean over pictures. A picture without figure or
    without labelled pixels counts for the first two and not for average precision.

    threshold: a number, or "mean", the map's mean over the labelled pixels. paper: as the released code has it, where
    the mean is over all pixels, a picture without figure has the average precision of its ground, and a flat map
    (which that code divides by zero) is ground everywhere with neither channel above the other.
    """

    def __init__(self, threshold: float | str = 0.5, paper: bool = False) -> None:
        from torchmetrics.classification import MulticlassJaccardIndex

        self.threshold, self.paper = threshold, paper
        self._jaccard = MulticlassJaccardIndex(num_classes=2, average="none")
        self._correct = self._labelled = 0
        self._scores: list[ImageScore] = []
        self._waiting: list[tuple[Tensor, Tensor]] = []  # torchmetrics takes as long for one picture as for many

    def update(self, score: Float[Tensor, "height width"], mask: Int[Tensor, "height width"]) -> ImageScore:
        """score: a map between 0 and 1. mask: 1 on the figure, 0 on the ground, below 0 where nothing counts."""
        counts = mask >= 0
        values, truth = score[counts], mask[counts] == 1
        averaged = score if self.paper else values
        threshold = float(averaged.mean()) if self.threshold == "mean" and len(values) else self.threshold
        said = values > (0.5 if isinstance(threshold, str) else float(threshold))
        correct = int((said == truth).sum())
        self._correct, self._labelled = self._correct + correct, self._labelled + len(values)
        if len(values):
            self._waiting.append((said, truth))
        if len(self._waiting) >= _AT_ONCE:
            self._flush()
        both = [(said & truth).sum() / (said | truth).sum(), (~said & ~truth).sum() / (~said | ~truth).sum()]
        numbers, flags = values.double().numpy(), truth.numpy()
        scored = bool(flags.any()) or (self.paper and len(flags) > 0)
        found = ImageScore(
            pixel_accuracy=correct / len(values) if len(values) else float("nan"),
            iou=float(torch.stack(both).nanmean()),
            two_channel=average_precision(self._channels(score, values), np.concatenate([~flags, flags]))
            if scored
            else float("nan"),
            figure=average_precision(numbers, flags),
        )
        self._scores.append(found)
        return found

    def _channels(self, score: Tensor, values: Tensor) -> Float[np.ndarray, " pixel"]:
        """1 − map and map, of the labelled pixels, one behind the other; as published in the map's own precision."""
        if not self.paper:
            numbers = values.double().numpy()
            return np.concatenate([1 - numbers, numbers])
        flat = not bool(score.max() > score.min())
        channels = torch.zeros(2, len(values)) if flat else torch.stack([1 - values, values])
        return channels.flatten().double().numpy()

    def _flush(self) -> None:
        if self._waiting:
            said, truth = (torch.cat(column).long() for column in zip(*self._waiting, strict=True))
            self._jaccard.update(said, truth)
            self._waiting.clear()

    def compute(self) -> dict[str, float]:
        """pixel_accuracy, mIoU, IoU of figure and ground, mAP (both channels) and AP (the figure alone)."""
        self._flush()
        ground, figure = (float(value) for value in self._jaccard.compute()) if self._labelled else (0.0, 0.0)
        return {
            "pixel_accuracy": self._correct / max(self._labelled, 1),
            "mIoU": (ground + figure) / 2,
            "IoU_figure": figure,
            "IoU_ground": ground,
            "mAP": _mean(score.two_channel for score in self._scores),
            "AP": _mean(score.figure for score in self._scores),
        }


class ClassScores:
    """Semantic segmentation over a data set: pixel accuracy and mIoU over the classes that occur, with and without
    the background.

    Without: pixels of the background do not count and only things compete. Classes that neither occur nor are ever
    predicted are left out of the mean.
    """

    def __init__(self, classes: int, background: int | None) -> None:
        from torchmetrics.classification import MulticlassConfusionMatrix

        self.background = background
        self._all = MulticlassConfusionMatrix(num_classes=classes, ignore_index=-1)
        self._things = MulticlassConfusionMatrix(num_classes=classes, ignore_index=-1)

    def update(
        self,
        said: Int[Tensor, "height width"],
        things: Int[Tensor, "height width"],
        mask: Int[Tensor, "height width"],
    ) -> None:
        """said: predicted classes, background included; things: the best thing of each pixel."""
        mask = mask.long()
        self._all.update(said[None], mask[None])
        without = mask if self.background is None else torch.where(mask == self.background, -1, mask)
        self._things.update(things[None], without[None])

    def compute(self) -> dict[str, float]:
        accuracy, mean = _of_confusion(self._all.compute())
        things_accuracy, things_mean = _of_confusion(self._things.compute())
        if self.background is None:
            return {"pixel_accuracy": accuracy, "mIoU": mean}
        return {
            "pixel_accuracy": accuracy,
            "mIoU": mean,
            "pixel_accuracy_without_background": things_accuracy,
            "mIoU_without_background": things_mean,
        }


def _of_confusion(confusion: Int[Tensor, "truth said"]) -> tuple[float, float]:
    """Pixel accuracy, and mean IoU of the classes that occur or are predicted."""
    right = confusion.diagonal().double()
    union = confusion.sum(dim=0) + confusion.sum(dim=1) - confusion.diagonal()
    there = union > 0
    if not bool(there.any()):
        return float("nan"), float("nan")
    return float(right.sum() / confusion.sum()), float((right[there] / union[there]).mean())


def _mean(values) -> float:
    found = np.array(list(values), dtype=np.float64)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else float("nan")
