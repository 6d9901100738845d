"""How a model is loaded: what `summand.load` takes, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class LoadOptions:
    """Which CLIP, and how it is loaded."""

    GROUP: ClassVar[str] = "Model"

    model: str = "scenes-vit"
    """scenes-vit, an open_clip name, hf:folder, hf-hub:org/name, local-dir:path or aligned:folder."""
    pretrained: str | None = None
    """open_clip's tag of the weights, or a checkpoint file."""
    checkpoint: str | None = None
    """A file of fine-tuned weights; beside a tag, which says what they were fine-tuned from."""
    activation: Literal["gelu", "quickgelu"] | None = None
    """What a checkpoint computes, where no tag says it."""
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    """Of the weights; sums stay in fp32 or better."""
    image_size: int | None = None
    """Pixels a side, for finer maps [default: the model's own]."""
    ablation: str | None = None
    """A file of summand debias: its units stay at their mean."""
    steer: str | None = None
    """Effects of units times a factor: 10.3=0,9:2914=2."""
    random_init: bool = False
    """Random weights on purpose, to try things out."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""
