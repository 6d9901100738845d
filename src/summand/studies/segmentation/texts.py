"""Class texts: the mean of a class's prompts, each of unit length, brought to unit length."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...data.masks import MaskSource
from ...models import Model


def class_texts(model: Model, source: MaskSource, paper: bool = False) -> Float[Tensor, "thing embed"]:
    """One text direction for each thing of the source, in the order of `source.things`.

    The source's own prompts where it has some; else its class names in the templates of the model's world, or, as
    published, in OpenAI's 80 templates for ImageNet.
    """
    if source.prompts is not None:
        prompts = [source.prompts[thing] for thing in source.things]
    else:
        paper = paper and model.world.vocabulary is None  # OpenAI's templates need many words
        templates = _openai() if paper else [template.format for template in model.world.thing_templates]
        prompts = [[fill(source.classes[thing]) for fill in templates] for thing in source.things]
    flat = model.encode_text([text for row in prompts for text in row])
    rows = torch.split(flat, [len(row) for row in prompts])
    return F.normalize(torch.stack([row.mean(dim=0) for row in rows]), dim=1)


def _openai() -> list[Callable[[str], str]]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return list(OPENAI_IMAGENET_TEMPLATES)
