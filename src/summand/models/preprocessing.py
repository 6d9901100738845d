"""Image processors of transformers as preprocessing: one picture → pixels of the size that the tower reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import SummandError


class HuggingFacePreprocess:
    """A PIL image → pixels [3, height, width], by the model's own image processor. mean, std: its normalisation.

    size: (height, width) that the tower reads. Where the processor makes another size, it is asked for this one.
    SigLIP 2's processor, which cuts a picture into flat patches on a grid that follows its shape, gets the picture
    resized to the tower's one grid, as SigLIP's does, and the patches are laid together again.
    """

    def __init__(self, processor: Any, size: tuple[int, int]) -> None:
        self.processor, self.size = processor, size
        self.mean, self.std = tuple(processor.image_mean), tuple(processor.image_std)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        if hasattr(self.processor, "max_num_patches"):
            return self._from_patches(image)
        pixels = self._processed(image)
        if pixels.shape[-2:] != self.size:
            pixels = self._processed(image, **self._sizes())
        if pixels.shape != (3, *self.size):
            raise SummandError(
                f"the model's {type(self.processor).__name__} makes pixels {list(pixels.shape)}, its image tower reads "
                f"{[3, *self.size]}; give preprocessing that fits"
            )
        return pixels

    def _processed(self, image: Image.Image, **changes: Any) -> Tensor:
        return torch.as_tensor(self.processor(images=image, return_tensors="pt", **changes)["pixel_values"][0])

    def _sizes(self) -> dict[str, dict[str, int]]:
        """What to ask the processor for: the shortest edge and a crop, or both sides at once."""
        height, width = self.size
        both = {"height": height, "width": width}
        if height == width and getattr(self.processor, "do_center_crop", False):
            return {"size": {"shortest_edge": height}, "crop_size": both}
        return {"size": both, "crop_size": both}

    def _from_patches(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        (height, width), side = self.size, int(self.processor.patch_size)
        rows, columns = height // side, width // side
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling(int(self.processor.resample)))
        patches = self._processed(image, do_resize=False, max_num_patches=rows * columns)
        return patches.reshape(rows, columns, side, side, 3).permute(4, 0, 2, 1, 3).reshape(3, height, width)


def as_preprocess(preprocess: Any, size: Callable[[], tuple[int, int]]) -> Callable[..., Any] | None:
    """What the caller gives as preprocessing, callable with a picture alone: a processor or an image processor of
    transformers is wrapped, for pictures of the size that the model reads; everything else is left as it is."""
    processor = getattr(preprocess, "image_processor", preprocess)
    named = ("image_mean", "image_std", "preprocess", "model_input_names")
    return HuggingFacePreprocess(processor, size()) if all(hasattr(processor, name) for name in named) else preprocess
