"""Preprocessing in two halves: pictures cut to size where they are read, as bytes; scaled where the model is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from open_clip import transform
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, Normalize, ToTensor

from .pixels import of_picture

if TYPE_CHECKING:
    from .model import Model


_TO_TENSOR = (ToTensor, getattr(transform, "MaybeToTensor", ToTensor))  # open_clip's own, of which 3.2 has none


@dataclass(frozen=True)
class Cut:
    """x = (bytes / 255 − mean) / std, per channel, as torchvision's ToTensor and Normalize compute it: to the bit on
    the CPU, within the last place on a GPU. steps: what is done to the picture before, resizing and cropping."""

    steps: Sequence[Callable[[Image.Image], Image.Image]]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> UInt8[Tensor, "3 height width"]:
        for step in self.steps:
            image = step(image)
        return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()

    def finished(self, cut: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image 3 height width"]:
        """In fp32, where the bytes are."""
        mean, std = (torch.tensor(one, device=cut.device).reshape(-1, 1, 1) for one in (self.mean, self.std))
        return cut.float().div_(255).sub_(mean).div_(std)


def cut_of(preprocess: Callable[..., Any] | None) -> Cut | None:
    """The two halves of preprocessing that ends with ToTensor and Normalize, as all of open_clip's does; else None."""
    steps: list[Any] = list(preprocess.transforms) if isinstance(preprocess, Compose) else []
    if type(preprocess) is not Compose or len(steps) < 2:
        return None
    *steps, to_tensor, normalize = steps
    if type(to_tensor) not in _TO_TENSOR or type(normalize) is not Normalize:
        return None
    mean, std = (tuple(torch.as_tensor(one).flatten().tolist()) for one in (normalize.mean, normalize.std))
    return Cut(tuple(steps), mean, std) if len(mean) == len(std) == 3 else None


@dataclass(frozen=True)
class Prepared:
    """Images as a source gives them → pixels. Called by a process that reads pictures, it gives bytes where it can: a
    quarter of what has to be handed over. preprocess: the model's, whole. cut: its halves, where it has them."""

    preprocess: Callable[[Any], Tensor]
    cut: Cut | None

    def __call__(self, images: list[Any] | np.ndarray | Tensor) -> Tensor:
        """Bytes, or pixels. A tensor is taken to be pixels, whatever its type is."""
        if isinstance(images, Tensor):
            return images.float() if images.dtype == torch.uint8 else images
        if isinstance(images, np.ndarray):
            return self.preprocess(images)
        return torch.stack([self._cut(image) for image in images])

    def _cut(self, image: Any) -> Tensor:
        if self.cut is None or not isinstance(image, Image.Image):
            return self.preprocess(image)
        return of_picture(self.cut, image)

    def on(self, found: Tensor, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "image 3 height width"]:
        """What the call gave, as pixels on a device; from page-locked memory to a GPU, without waiting for it."""
        if device.type == "cuda" and found.device.type == "cpu" and torch.cuda.is_available():
            found = found.pin_memory().to(device, non_blocking=True)
        if found.dtype == torch.uint8 and self.cut is not None:
            found = self.cut.finished(found.to(device))
        return found.to(device, dtype)


def pixels_of(model: Model, images: list[Any] | np.ndarray | Tensor) -> Float[Tensor, "image 3 height width"]:
    """Images as a source gives them, preprocessed, on the model's device; a tensor is taken to be preprocessed."""
    return on_device(model, model.prepared(images))


def on_device(model: Model, found: Tensor) -> Float[Tensor, "image 3 height width"]:
    """What a process that reads pictures gave, as pixels that the model takes."""
    return model.prepared.on(found, model.device, model.dtype)
