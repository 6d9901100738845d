"""Pictures to begin with: scenes for a model of scenes, else some of the survey's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ... import scenes
from ...errors import SummandError
from .known import Known

_DESCRIBED = (
    ("a red star and a blue ring in the snow", "a red star\na blue ring\na green circle"),
    ("three striped yellow squares by the sea", "a striped object\na solid object\na dotted object"),
    ("a large cyan cross in a forest with the letter A", "the letter A\nthe letter K\na scene without a letter"),
    ("two purple triangles in the desert", "two objects\none object\nthree objects"),
    ("a small white crescent on the left in a city at night", "an object on the left\nan object on the right"),
    ("an orange diamond in a meadow", "an orange object\na yellow object\na red object"),
)
_PICTURES = 6
_TEXTS = "a photo of a dog\na photo of a cat\na photo of a car"


@dataclass(frozen=True)
class Sample:
    """A picture, what it is called, and texts to ask it for."""

    picture: Image.Image
    name: str
    texts: str


def samples(known: Known) -> list[Sample]:
    """Some examples; none where nothing is at hand."""
    if known.model.world.name == "scenes":
        return [
            Sample(Image.fromarray(scenes.describe(text, seed=place).images[0]), text, texts)
            for place, (text, texts) in enumerate(_DESCRIBED)
        ]
    if known.survey is None:
        return []
    try:
        source = known.survey.source()
    except SummandError:
        return []
    found = []
    for index in np.linspace(0, len(source) - 1, min(_PICTURES, len(source))).round().astype(int).tolist():
        try:
            found.append(Sample(source.image(index), source.name(index), _TEXTS))
        except OSError:
            continue
    return found


def first_texts(known: Known) -> str:
    """What the box of texts holds at first."""
    found = samples(known)
    return found[0].texts if found else _TEXTS
