"""From descriptions to pictures: the scenes' renderer, or any text-to-image pipeline of diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from ...errors import SummandError, first_line
from ...scenes import describe


@runtime_checkable
class Generator(Protocol):
    """Draws `count` pictures of a description, the same ones for the same seed."""

    def draw(self, prompt: str, count: int, seed: int) -> list[Image.Image]: ...


@dataclass(frozen=True)
class SceneGenerator:
    """The renderer itself: what the words name is fixed, the rest is chance. Its pictures never show the target."""

    def draw(self, prompt: str, count: int, seed: int) -> list[Image.Image]:
        return [Image.fromarray(image) for image in describe(prompt, count, seed).images]


@dataclass(frozen=True)
class DiffusersGenerator:
    """pipeline: a diffusers pipeline that is called with a prompt. options: passed on, such as num_inference_steps."""

    pipeline: Any
    options: tuple[tuple[str, Any], ...] = ()

    @staticmethod
    def load(name: str, device: str = "cpu", **options: Any) -> DiffusersGenerator:
        """The pipeline of a name or folder, from safetensors. Raises `SummandError` where something is missing."""
        try:
            pipeline_class = import_module("diffusers").DiffusionPipeline
        except ImportError:
            raise SummandError("pictures need diffusers: pip install 'summand-clip[generate]'") from None
        try:
            pipeline = pipeline_class.from_pretrained(name, use_safetensors=True).to(device)
        except Exception as error:  # whatever the hub, the files or the pipeline raise
            raise SummandError(f"the text-to-image pipeline {name} cannot be loaded: {first_line(error)}") from error
        pipeline.set_progress_bar_config(disable=True)
        return DiffusersGenerator(pipeline, tuple(options.items()))

    def draw(self, prompt: str, count: int, seed: int) -> list[Image.Image]:
        import torch

        generators = [torch.Generator("cpu").manual_seed(seed + i) for i in range(count)]
        made = self.pipeline([prompt] * count, generator=generators, output_type="pil", **dict(self.options))
        return [image.convert("RGB") for image in made.images]
