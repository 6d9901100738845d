"""What can be asked of `align`."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...unit import split
from ..verb import OptionError, one_of


@dataclass(frozen=True)
class AlignOptions:
    """Map a vision transformer without texts into a CLIP's space, by images alone: DINO, DeiT, MAE, supervised ViTs.

    One linear map from its pooled output to the CLIP's embeddings, by ridge regression in closed form; the ridge is
    chosen on held-out images, and what the map is worth is reported on others. Give a folder as --out: --model
    aligned:FOLDER is then a model for every command, in the CLIP's words.

    Examples:

    - summand align vit_small_patch14_dinov2.lvd142m photos/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out dino
    - summand survey photos/ --model aligned:dino --out run

    Parameters
    ----------
    vision
        The name of a timm model.
    images
        Unlabelled images: a folder, a table, hf:NAME or scenes[:…]; at least two and a half for every feature.
    """

    weights: str | None = None
    """A checkpoint file of the vision model [default: timm's own weights]."""
    vision_settings: str | Mapping[str, Any] | None = None
    """Further settings of timm's: img_size=64,patch_size=8."""
    random_vision: bool = False
    """Random weights on purpose: what the map makes of no training at all."""
    pixels: Literal["own", "clip"] = "own"
    """Preprocessing: the vision model's own, or the CLIP's, where both read one size."""
    classes: str | Sequence[str] | None = None
    """Names that zero-shot answers are compared on, with commas between, imagenet, a text file, or an attribute of the
    model's world [default: all attributes of the model's world, else texts of its pool]."""

    def __post_init__(self) -> None:
        one_of("pixels", self.pixels, ("own", "clip"))
        read_settings(self.vision_settings)
        if self.weights is not None and self.random_vision:
            raise OptionError("weights", "cannot be given with random_vision=True; leave one of them out")


def read_settings(said: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings as timm takes them: numbers, True, False and None where they are such. Raises `OptionError` for the
    number of classes, for a classifier is left out."""
    found: dict[str, Any] = {} if isinstance(said, str) else dict(said or {})
    for part in split(said) if isinstance(said, str) else ():
        name, mark, value = part.partition("=")
        if not mark:
            raise OptionError("vision_settings", f"must be name=value with commas between, got {part!r}")
        found[name.strip()] = _value(value.strip())
    if "num_classes" in found:
        raise OptionError("vision_settings", "has no place for num_classes: a classifier is left out; leave it away")
    return found


def _value(said: str) -> Any:
    try:
        return ast.literal_eval(said)
    except (ValueError, SyntaxError):
        return said
