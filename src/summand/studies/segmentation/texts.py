"""Class texts: the mean of a class's prompts, each of unit length, brought to unit length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...data.masks import MaskSource
from ...models import Model
from ...scenes.pretrained import is_scenes_model

PLAIN = ("a photo of a {}", "a picture of a {}", "{}")
TEMPLATES = ("a photo of a {}", "a close-up photo of a {}", "a picture of the {}", "{}")


def class_texts(model: Model, source: MaskSource, paper: bool = False) -> Float[Tensor, "thing embed"]:
    """One text direction for each thing of the source, in the order of `source.things`.

    The source's own prompts where it has some; else its class names in a few templates, or, as published, in OpenAI's
    80 templates for ImageNet.
    """
    if source.prompts is not None:
        prompts = [source.prompts[thing] for thing in source.things]
    else:
        plain = is_scenes_model(model)  # their vocabulary is small
        prompts = [filled(source.classes[thing], paper, plain) for thing in source.things]
    flat = model.encode_text([text for row in prompts for text in row])
    rows = torch.split(flat, [len(row) for row in prompts])
    return F.normalize(torch.stack([row.mean(dim=0) for row in rows]), dim=1)


def filled(name: str, paper: bool, plain: bool = False) -> Sequence[str]:
    """A class name in every template; plain: in templates of the words that the scenes models know."""
    if plain:
        return [template.format(name) for template in PLAIN]
    if not paper:
        return [template.format(name) for template in TEMPLATES]
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return [template(name) for template in OPENAI_IMAGENET_TEMPLATES]
