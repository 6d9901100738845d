"""What can be asked of `export`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..verb import at_least


@dataclass(frozen=True)
class ExportOptions:
    """Write a model, with its ablation and steering, to a file that runs without Summand.

    TO says the format: .pt2 (torch.export), .onnx, or .safetensors (the CLIP's own weights, where the edit is one of
    weights alone: an attribute's axes removed from the embedding, heads or pairs of a ResNet's attention pool). The
    file gives `encode_image` of preprocessed pixels in one pass, or with --classes the classes' scores. Before it is
    written its answers are held against the model's; what is not exact is refused.

    Examples:

    - summand export patched.onnx --ablation repaired/ablation.npz --model scenes-vit-tied
    - summand export birds.pt2 --ablation repaired/ablation.npz --classes "landbird,waterbird" --model ViT-L-14
      --pretrained laion2b_s32b_b82k

    Parameters
    ----------
    to
        The file: its name ends in .pt2, .onnx or .safetensors.
    """

    classes: str | Sequence[str] | None = None
    """Zero-shot scores in place of the embedding: imagenet, a text file with a name a line, names with commas between
    them, or an attribute of the model's world."""
    templates: str | Sequence[str] | None = None
    """openai (80), simple (7), a text file, or one such as 'a photo of {}' [default: the model's own]."""
    batch: int | None = None
    """A fixed number of images a pass, for a tower that cannot be traced otherwise [default: any number]."""

    def __post_init__(self) -> None:
        at_least("batch", self.batch, 1)
