"""Attack: natural pictures that mislead a zero-shot classifier, from the words of its own neurons (paper A, §5.1)."""

from .generators import DiffusersGenerator, Generator, SceneGenerator
from .indirect_effects import indirect_directions
from .loop import Attack, Picture, attack
from .mining import (
    METHODS,
    Words,
    class_embedding,
    indirect_words,
    random_words,
    second_order_words,
    similar_words,
)
from .writers import EndpointWriter, SceneWriter, TemplateWriter, TransformersWriter, Writer

__all__ = [
    "METHODS", "Attack", "DiffusersGenerator", "EndpointWriter", "Generator", "Picture", "SceneGenerator",
    "SceneWriter", "TemplateWriter", "TransformersWriter", "Words", "Writer", "attack", "class_embedding",
    "indirect_directions", "indirect_words", "random_words", "second_order_words", "similar_words",
]  # fmt: skip
