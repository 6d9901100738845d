"""Random pictures with labels, for studies that need images but no meaning."""

from __future__ import annotations

import numpy as np
from PIL import Image

from summand.data.labelled import Labelled


class Noise:
    """An image source of noise, the same at every reading."""

    def __init__(self, count: int, seed: int = 0, size: int = 32) -> None:
        rng = np.random.default_rng(seed)
        tint = rng.integers(0, 255, (count, 1, 1, 3))
        self.arrays = ((rng.integers(0, 255, (count, size, size, 3)) + tint) // 2).astype(np.uint8)
        self.label = f"noise {seed}"

    def __len__(self) -> int:
        return len(self.arrays)

    def name(self, index: int) -> str:
        return f"noise {index}"

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.arrays[index])

    def attributes(self) -> None:
        return None


class Unread(Noise):
    """Images that a check must not come to read."""

    def image(self, index: int) -> Image.Image:
        raise AssertionError("an image was read")


def labelled(count: int, classes: int = 3, seed: int = 0) -> Labelled:
    rng = np.random.default_rng([seed, 1])
    names = tuple(f"class {i}" for i in range(classes))
    groups = rng.integers(0, 2, count)
    return Labelled(Noise(count, seed), names, rng.integers(0, classes, count), ("left", "right"), groups)


def pixels(images: Image.Image):
    """Preprocessing of the tiny models."""
    import torch

    return torch.from_numpy(np.asarray(images).astype(np.float32) / 64 - 2).permute(2, 0, 1)
