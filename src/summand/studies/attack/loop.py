"""Words → descriptions → pictures → how many the classifier gets wrong, over repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...errors import SummandError
from ...models import Model, pixels_of
from .generators import Generator
from .mining import Words
from .synonyms import Drop
from .writers import Writer, keep


@dataclass(frozen=True)
class Picture:
    """One generated picture: ⟨M(x), v⟩ / ‖M(x)‖, positive where the classifier says the target."""

    repeat: int
    prompt: str
    score: float
    image: Image.Image

    @property
    def fooled(self) -> bool:
        return self.score > 0


@dataclass(frozen=True)
class Attack:
    """What one list of words did. rates: share of fooled pictures, one a repeat."""

    words: Words
    prompts: tuple[tuple[str, ...], ...]
    rates: tuple[float, ...]
    pictures: tuple[Picture, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.rates))

    @property
    def std(self) -> float:
        """Over the repeats, as the paper gives it (divided by their number)."""
        return float(np.std(self.rates))


def mislead(
    model: Model,
    words: Words,
    towards: Float[Tensor, " embed"],
    image_of: str,
    classified_as: str,
    writer: Writer,
    generator: Generator,
    *,
    prompts: int = 10,
    per_prompt: int = 10,
    repeats: int = 3,
    seed: int = 0,
    drop: Drop | None = None,
) -> Attack:
    r"""Success = ⟨M(x), M_text(classified as) − M_text(image of)⟩ > 0, over `prompts` × `per_prompt` pictures a repeat.

    towards: that difference of texts. drop: says which descriptions hold another name of the target. Each repeat
    writes, chooses and draws anew, with seeds that follow from `seed`.
    The paper removes pictures by hand that show the target or lack the first class; look at the contact sheet.

    Raises `SummandError` for counts below 1, and what writer and generator raise. Source: paper A, section 5.1.
    """
    for name, number in (("prompts", prompts), ("pictures a prompt", per_prompt), ("repeats", repeats)):
        if number < 1:
            raise SummandError(f"the number of {name} must be at least 1, got {number}")
    written, rates, pictures = [], [], []
    for repeat in range(repeats):
        start = (seed * repeats + repeat) * 100_000
        texts = writer.write(words, image_of, classified_as, start)
        chosen = keep(texts, image_of, classified_as, prompts, start, drop)
        found: list[Picture] = []
        for place, prompt in enumerate(chosen):
            drawn = generator.draw(prompt, per_prompt, start + place * per_prompt)
            scores = _scores(model, drawn, towards)
            found += [Picture(repeat, prompt, score, image) for score, image in zip(scores, drawn, strict=True)]
        written.append(tuple(chosen))
        rates.append(float(np.mean([picture.fooled for picture in found])))
        pictures += found
    return Attack(words, tuple(written), tuple(rates), tuple(pictures))


def _scores(model: Model, images: list[Image.Image], towards: Tensor) -> list[float]:
    embeddings = torch.nn.functional.normalize(model.encode_image(pixels_of(model, images)).float(), dim=1)
    return (embeddings @ towards.to(embeddings)).tolist()
