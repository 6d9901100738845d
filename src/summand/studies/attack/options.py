"""What can be asked of `attack`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...unit import parse_layers, split
from ..verb import at_least, one_of

METHODS = {
    "second-order": "second-order",
    "random": "random neurons",
    "indirect": "indirect effects",
    "similar": "similar words",
}
"""Where words come from: as it is asked for → as it is called."""


@dataclass(frozen=True)
class AttackOptions:
    """Find the words that pull one class towards another through the model's neurons, and draw what they describe.

    Try it on your own models: which innocent words in a picture of a dog make your classifier say deer?

    Examples:

    - summand attack star cross
    - summand attack horse automobile --reference photos/ --model ViT-B-32 --pretrained openai --repeats 0
    - summand attack dog deer --reference run/ --llm http://localhost:8000/v1#llama-3-8b --generator
      stabilityai/sdxl-turbo --out attack

    Parameters
    ----------
    image_of
        What the pictures show.
    classified_as
        What the model should say instead.
    reference
        What the neurons' directions are learnt from: images, or the folder of a survey [default: scenes, for a model
        of scenes].
    """

    layers: str | Sequence[int] | None = None
    """Of the neurons: 9, 8-10 or 8,10 [default: the last three with later attention]."""
    contributing: int = 100
    """Neurons that contribute their words."""
    top: int = 25
    """Words that are used."""
    size: int | None = None
    """Texts in a neuron's description [default: 128 of a large pool, else 16]."""
    pool: str | None = None
    """Words to choose from: a name or a text file [default: words-30k]."""
    avoid: str | Sequence[str] | None = None
    """Other names of the target to leave out, commas between."""
    methods: str | Sequence[str] = "second-order,random,indirect,similar"
    """Where words come from: the neurons' second-order effects, and what these are compared with."""
    indirect: int = 300
    """Neurons that are tried for their indirect effects, a pass each."""
    llm: str | None = None
    """Writes the descriptions: a text-generation model of transformers, or http://…/v1#NAME [default: a template]."""
    generator: str | None = None
    """Draws them: a text-to-image pipeline of diffusers; scenes draw themselves."""
    prompts: int = 10
    """Descriptions a repeat."""
    pictures: int = 10
    """Pictures a description."""
    repeats: int = 3
    """0 finds words and writes descriptions alone, and draws nothing."""
    seed: int = 0
    """Of what is drawn by chance."""
    count: int | None = None
    """Use at most so many images of the reference."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        for name in ("contributing", "top", "size", "indirect", "prompts", "pictures", "count", "batch_size"):
            at_least(name, getattr(self, name), 1)
        for name in ("repeats", "seed"):
            at_least(name, getattr(self, name), 0)
        parse_layers(self.layers or ())
        for method in split(self.methods) or [""]:
            one_of("methods", method, METHODS)
