"""The CLIPs that ship with the package: their open_clip configurations, preprocessing and weights.

`scenes-vit` and `scenes-rn` know the scenes as they are. `scenes-vit-tied` is `scenes-vit` trained further where the
place follows the shape in 95 % of the scenes, so that it takes the place for the shape: a model to repair.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..errors import SummandError
from .places import SIZE
from .tokenizer import CONTEXT_LENGTH, WORLD, SceneTokenizer

MEAN, STD = 0.5, 0.25
EMBED = 128
INPUT_SIZE = {"scenes-vit": 64, "scenes-rn": 128, "scenes-vit-tied": 64}
NAMES = tuple(INPUT_SIZE)


def configuration(name: str) -> dict[str, Any]:
    """The arguments of `open_clip.CLIP` for a scenes model."""
    text = {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": SceneTokenizer().vocab_size,
        "width": 128,
        "heads": 4,
        "layers": 3,
        "pool_type": "argmax",
    }
    vision: dict[str, Any] = {
        "scenes-vit": {"image_size": 64, "patch_size": 8, "layers": 6, "width": 128, "head_width": 16},
        # Fed at twice the scenes' size, so that the pool sees a 4 × 4 grid.
        "scenes-rn": {"image_size": 128, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
    }
    vision["scenes-vit-tied"] = vision["scenes-vit"]
    if name not in vision:
        raise SummandError(f"no scenes model is called {name!r} (there are {', '.join(NAMES)})")
    return {"embed_dim": EMBED, "vision_cfg": vision[name], "text_cfg": text}


def build(name: str) -> torch.nn.Module:
    """A scenes model with fresh random weights: open_clip's own `CLIP` class."""
    import open_clip

    return open_clip.CLIP(**configuration(name))


class ScenePreprocess:
    """A PIL image or uint8 [image, height, width, 3] → float32 [image, 3, size, size] (a single PIL image loses the
    first axis), resized bilinearly and normalised as in training."""

    world = WORLD
    mean, std = (MEAN,) * 3, (STD,) * 3
    reads_arrays = True

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, images: Image.Image | np.ndarray) -> Tensor:
        if isinstance(images, Image.Image):
            picture = images.convert("RGB")
            if picture.size != (SIZE, SIZE):
                picture = picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            return self(np.asarray(picture)[None])[0]
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise SummandError(
                "expected a PIL image or a uint8 array [image, height, width, 3], "
                f"got {images.dtype} {list(images.shape)}"
            )
        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
        if pixels.shape[-2:] != (self.size, self.size):
            pixels = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear")
        return (pixels - MEAN) / STD


def is_scenes_model(model: Any) -> bool:
    """Whether a `summand.Model` has learnt our scenes: it reads them, in their words. So do its ablated and fine-tuned
    kin, whatever they are called."""
    return model.world.name == WORLD


def weights_path(name: str):
    return files("summand.scenes") / "weights" / f"{name}.safetensors"


@lru_cache(maxsize=len(NAMES))
def card(name: str) -> dict[str, Any]:
    """How a scenes model was trained and what it can do: accuracy per attribute, images seen, seed, command."""
    configuration(name)
    return json.loads((files("summand.scenes") / "weights" / f"{name}.json").read_text())


def load(name: str) -> tuple[torch.nn.Module, ScenePreprocess, SceneTokenizer]:
    """A trained scenes model in evaluation mode (fp32, from the fp16 weights in the package), with its preprocessing
    and tokenizer."""
    from safetensors.torch import load as load_safetensors

    model = build(name)
    path = weights_path(name)
    if not path.is_file():
        raise SummandError(f"the weights of {name} are missing from this installation ({path}); reinstall summand")
    model.load_state_dict(load_safetensors(path.read_bytes()))
    return model.eval(), ScenePreprocess(INPUT_SIZE[name]), SceneTokenizer()
