"""How a model is loaded, and how images go through it: what `summand.load` and the verbs take, field by field."""

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
    sae: str | None = None
    """Sparse autoencoders of the stream: folders or files, commas between, FILE@9 for one that does not say its layer;
    their latents are units (latents:9)."""
    random_init: bool = False
    """Random weights on purpose, to try things out."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class Compute:
    """How images go through the model."""

    GROUP: ClassVar[str] = "Computing"

    batch_size: int = 64
    """Images a forward pass."""
    count: int | None = None
    """Use at most so many images."""
    workers: int | None = None
    """Processes that read pictures [default: as many as fit; 0 for none]."""

    def passed(self) -> dict[str, int | None]:
        """What a verb takes of these; workers are the command's own."""
        return {"batch_size": self.batch_size, "count": self.count}
