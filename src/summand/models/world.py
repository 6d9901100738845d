"""What a model has seen and the words it knows: its world, by which texts and pictures are chosen for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor, nn

from ..errors import SummandError
from ..registry import Registry
from ..text.pools import pool

Template = str | Callable[[str], str]

_CONTRAST_TEXTS = 120


def _openai_templates() -> Sequence[Template]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return OPENAI_IMAGENET_TEMPLATES


@dataclass(frozen=True)
class World:
    """The world of a model. A model made from another one, wrapped, fine-tuned, ablated or copied, has the same.

    pool: the description pool that its units are labelled with. class_templates: what class names are put in for
    zero-shot classification, "{}" or "{a}" (with an article) for the name; thing_templates: the same for segmentation.
    images: a source of reference images that always is at hand, or None.

    picture_size: (height, width) of the pictures that its preprocessing is made for, where it is not the input's size.
    own: whether a picture can be one of it; stranger: what is said of a picture that cannot, with `{model}` in it.

    vocabulary: its words, or None where it reads every word. prompts: attribute → value → texts that name this value
    and nothing else, for worlds whose attributes are known; main_attribute: the one that its pictures are of.
    """

    name: str
    pool: str = "general"
    class_templates: Callable[[], Sequence[Template]] = _openai_templates
    thing_templates: tuple[str, ...] = ("a photo of a {}", "a close-up photo of a {}", "a picture of the {}", "{}")
    images: str | None = None
    picture_size: tuple[int, int] | None = None
    own: Callable[[Image.Image], bool] | None = None
    stranger: str = ""
    vocabulary: Callable[[], tuple[str, ...]] | None = None
    prompts: Callable[[], Mapping[str, Mapping[str, Sequence[str]]]] | None = None
    main_attribute: str | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes whose values it has prompts for."""
        return () if self.prompts is None else tuple(self.prompts())

    def prompts_of(self, attribute: str) -> Mapping[str, Sequence[str]]:
        """value → texts. Raises `SummandError` for an attribute that the world does not know."""
        if attribute not in self.attributes:
            known = ", ".join(self.attributes) or "none"
            raise SummandError(f"the world {self.name!r} has no attribute {attribute!r} (there are: {known})")
        assert self.prompts is not None
        return self.prompts()[attribute]

    def contrast(self) -> list[str]:
        """A spread of its pool: texts whose mean says what every text says."""
        texts = pool(self.pool).texts
        return list(texts[:: max(1, len(texts) // _CONTRAST_TEXTS)])

    def strange(self, picture: Image.Image, model: str = "this model") -> str | None:
        """What to warn of where a model of this world is asked about a picture that is none of it; else None."""
        return None if self.own is None or self.own(picture) else self.stranger.format(model=model)


GENERAL = World("general")
"""Photographs and every word: the world of all models of which nothing else is known."""


@dataclass(frozen=True)
class Shipped:
    """A model that comes with the package. alike: a model of open_clip whose towers are of the same kind; build: the
    network with fresh random weights; trained: the network with its own."""

    alike: str
    build: Callable[[], nn.Module]
    trained: Callable[[], nn.Module]
    preprocess: Callable[[], Callable[..., Tensor]]
    tokenizer: Callable[[], Callable[..., Any]]


WORLDS: Registry[World] = Registry("models")
"""Worlds besides the general one."""

SHIPPED: Registry[Shipped] = Registry("models")
"""Models that `load` knows besides those of open_clip and Hugging Face."""


def world_of(preprocess: Any, tokenizer: Any) -> World:
    """The world of a model that was wrapped: what its tokenizer says (an attribute `world`, a name in `WORLDS`), and
    without one its preprocessing; else the general world."""
    named = getattr(preprocess if tokenizer is None else tokenizer, "world", None)
    return WORLDS.get(named, GENERAL) if isinstance(named, str) else GENERAL


def world_of_name(name: str) -> World:
    """The world of a model that is known by the name alone which it is loaded by."""
    return GENERAL if name not in SHIPPED else world_of(None, SHIPPED[name].tokenizer())


def check_world(world: Any) -> World:
    """A world, or the one of a name. Raises `SummandError` for anything else."""
    if isinstance(world, World):
        return world
    if world == GENERAL.name:
        return GENERAL
    if not isinstance(world, str) or world not in WORLDS:
        known = ", ".join((GENERAL.name, *WORLDS))
        raise SummandError(f"world is a summand.models.World or the name of one ({known}); got {world!r}")
    return WORLDS[world]
