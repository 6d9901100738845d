"""The models of the scenes, and the world that they have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from PIL import Image

from ..models.world import SHIPPED, WORLDS, Shipped, World
from .attributes import ATTRIBUTES
from .meaning import vocabulary
from .phrases import prompts
from .places import SIZE
from .pretrained import INPUT_SIZE, WORLD, ScenePreprocess, build, load
from .tokenizer import SceneTokenizer


def _templates() -> Sequence[str]:
    return ("{}", "{a}", "a photo of {a}")


def _prompts() -> Mapping[str, Mapping[str, Sequence[str]]]:
    return {name: {str(value): texts for value, texts in prompts(name).items()} for name in ATTRIBUTES}


def _scene(picture: Image.Image) -> bool:
    """A scene is a picture of their size that was written without loss."""
    return picture.size == (SIZE, SIZE)


def _trained(name: str) -> torch.nn.Module:
    return load(name)[0]


WORLDS.add(
    WORLD,
    World(
        name=WORLD,
        pool="scenes",
        class_templates=_templates,
        thing_templates=("a photo of a {}", "a picture of a {}", "{}"),
        images="scenes:count=500,seed=4242",
        picture_size=(SIZE, SIZE),
        own=_scene,
        stranger=(
            "{model} has seen nothing but rendered scenes and knows 121 words; these pictures are none, and what "
            "follows says nothing about them. Name a model of photographs, such as --model ViT-B-16 --pretrained "
            "laion2b_s34b_b88k"
        ),
        vocabulary=vocabulary,
        prompts=_prompts,
        main_attribute="shape",
    ),
)
for _name, _alike in (("scenes-vit", "ViT-B-32"), ("scenes-rn", "RN50"), ("scenes-vit-tied", "ViT-B-32")):
    SHIPPED.add(
        _name,
        Shipped(
            alike=_alike,
            build=partial(build, _name),
            trained=partial(_trained, _name),
            preprocess=partial(ScenePreprocess, INPUT_SIZE[_name]),
            tokenizer=SceneTokenizer,
        ),
    )
