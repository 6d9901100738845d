"""What has no words for a model: brightness, contrast, colour, … measured on the pixels themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...data.sources import as_rgb
from ...models import Model
from .statistics import FEWEST, kolmogorov_smirnov, standardised_difference

PIXELS = ("brightness", "contrast", "colour", "sharpness", "compression", "noise", "aspect", "size")
_SAID = {
    "brightness": ("brighter", "darker"),
    "contrast": ("more contrast", "less contrast"),
    "colour": ("more colourful", "less colourful"),
    "sharpness": ("sharper", "blurred"),
    "compression": ("more compressed (blocks of 8)", "less compressed (blocks of 8)"),
    "noise": ("noisier", "smoother"),
    "aspect": ("wider", "taller"),
    "size": ("larger", "smaller"),
}
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_SIDE, _BLOCK = 512, 8
_TINY = 1e-4


def of_pictures(images: Sequence[Image.Image] | np.ndarray) -> Float[np.ndarray, "image measure"]:
    r"""PIXELS of every picture as it was given, before a model's preprocessing.

    Y: grey in [0, 1]; B: its mean over 3 × 3. brightness: mean Y. contrast: std(Y) / mean(Y). colour: log of the mean
    (max − min) over the channels over std(Y). sharpness: log of mean |Y − B| over mean |B − B(B)|, of the finest detail
    over the next. compression: log of the steps of Y between blocks of 8 over all others (JPEG's blocks). noise: log of
    the median |diagonal Haar coefficient| / 0.6745 (Donoho) over std(Y). aspect, size: log2 of width / height, and of
    the longer side. Each is made so that the others' changes leave it where it is: a factor on all pixels is brightness
    alone, one on their distance from grey contrast alone. Large pictures are measured on their 512 × 512 middle.
    """
    if isinstance(images, np.ndarray):
        return _measured(images, images.shape[2], images.shape[1])
    found = []
    for image in images:
        rgb = as_rgb(image)
        left, top = (max(0, (side - _SIDE) // 2) // _BLOCK * _BLOCK for side in rgb.size)
        middle = rgb.crop((left, top, min(rgb.width, left + _SIDE), min(rgb.height, top + _SIDE)))
        found.append(_measured(np.asarray(middle)[None], rgb.width, rgb.height))
    return np.concatenate(found) if found else np.zeros((0, len(PIXELS)))


def of_pixels(model: Model, images: Sequence[Image.Image] | np.ndarray | Tensor) -> Float[np.ndarray, "image measure"]:
    """The same; of preprocessed pixels without what preprocessing hides: aspect and size are NaN."""
    if not isinstance(images, Tensor):
        return of_pictures(images if isinstance(images, np.ndarray) else list(images))
    found = of_pictures(model.picture(images))
    found[:, [PIXELS.index("aspect"), PIXELS.index("size")]] = np.nan
    return found


def _measured(arrays: np.ndarray, width: int, height: int) -> Float[np.ndarray, "image measure"]:
    light = arrays.astype(np.float32) / 255
    grey = light @ _GREY
    mean, deviation = grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))
    spread = (light.max(axis=3) - light.min(axis=3)).mean(axis=(1, 2))
    colour = np.log((spread + 1e-3) / (deviation + 1e-3))
    blurred = _blurred(grey)
    finest = np.abs(grey - blurred).mean(axis=(1, 2))
    sharpness = np.log((finest + _TINY) / (np.abs(blurred - _blurred(blurred)).mean(axis=(1, 2)) + _TINY))
    diagonal = np.zeros((len(grey), 1, 1), dtype=np.float32)
    if min(grey.shape[1:]) > 1:
        even = grey[:, : grey.shape[1] // 2 * 2, : grey.shape[2] // 2 * 2]
        diagonal = (even[:, ::2, ::2] - even[:, 1::2, ::2] - even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 2
    noise = np.log((np.median(np.abs(diagonal), axis=(1, 2)) / 0.6745 + 1e-3) / (deviation + 1e-3))
    columns = [
        mean, deviation / np.maximum(mean, 1 / 255), colour, sharpness, _blocks(grey), noise,
        np.full(len(grey), np.log2(width / height)), np.full(len(grey), np.log2(max(width, height))),
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float64)


def _blurred(grey: Float[np.ndarray, "image row column"]) -> Float[np.ndarray, "image row column"]:
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9


def _blocks(grey: Float[np.ndarray, "image row column"]) -> Float[np.ndarray, " image"]:
    """log of the mean step across the borders of 8 × 8 blocks over that of all other steps."""
    between, inside = np.zeros(len(grey)), np.zeros(len(grey))
    for axis in (1, 2):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=3 - axis)
        border = np.arange(steps.shape[1]) % _BLOCK == _BLOCK - 1
        if border.any():
            between, inside = between + steps[:, border].mean(axis=1), inside + steps[:, ~border].mean(axis=1)
    return np.log((between + _TINY) / (inside + _TINY))


@dataclass(frozen=True)
class PixelShift:
    """How a measure of the pixels differs: distance and p of a Kolmogorov–Smirnov test (p times the number of measures,
    Bonferroni), effect: by how many usual deviations the mean moved; said: the change in words."""

    measure: str
    said: str
    distance: float
    effect: float
    p: float
    changed: bool

    def row(self) -> dict[str, Any]:
        """For JSON and tables."""
        return asdict(self)


def compare_pixels(
    reference: Float[np.ndarray, "image measure"] | None,
    current: Float[np.ndarray, "image2 measure"] | None,
    level: float,
) -> list[PixelShift]:
    """A row a measure that is known of both sets, the largest distance first. level: of p, below which it changed."""
    if reference is None or current is None or min(len(reference), len(current)) < FEWEST:
        return []
    known = np.flatnonzero(np.isfinite(reference).all(axis=0) & np.isfinite(current).all(axis=0))
    if not len(known):
        return []
    distance, p = kolmogorov_smirnov(reference[:, known], current[:, known])
    effect = standardised_difference(reference[:, known], current[:, known])
    rows = []
    for place, measure in enumerate(known):
        name, corrected = PIXELS[measure], min(1.0, float(p[place]) * len(known))
        said = _SAID[name][int(effect[place] < 0)]
        changed = corrected <= level
        rows.append(PixelShift(name, said, float(distance[place]), float(effect[place]), corrected, changed))
    return sorted(rows, key=lambda row: -row.distance)
