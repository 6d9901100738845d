"""A picture and some texts taken apart once: every number that the page shows is made of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ...data.pictures import as_rgb
from ...effects.waterfall import Step, steps
from ...errors import SummandError
from ...maps.contrast import default_contrast
from ...models import Model, pixels_of
from ...studies.perturbation.curves import logit_scale

MOST_TEXTS = 20
LONGEST = 300
"""Letters of a text: a CLIP reads about 70 tokens."""
_LONGEST_SIDE = 640
"""Pixels of the picture that maps are laid over."""


def parse_texts(written: str, most: int = MOST_TEXTS) -> tuple[str, ...]:
    """One text a line; empty lines and repetitions are left out. Raises `SummandError` for none, and for too many or
    too long ones."""
    texts = tuple(dict.fromkeys(line.strip() for line in (written or "").splitlines() if line.strip()))
    if not texts:
        raise SummandError("type at least one text, one a line, such as: a red star")
    if len(texts) > most:
        raise SummandError(f"at most {most} texts at once, got {len(texts)}; leave some out")
    long = next((text for text in texts if len(text) > LONGEST), None)
    if long is not None:
        raise SummandError(f"a text has at most {LONGEST} letters, and {long[:40]!r}… has {len(long):,}")
    return texts


@dataclass(frozen=True)
class Terms:
    """M(x) = input + Σ heads + Σ MLPs + constants of one picture."""

    heads: Float[Tensor, "layer head embed"]
    mlps: Float[Tensor, "mlp_layer embed"]
    input: Float[Tensor, " embed"]
    constants: Float[Tensor, " embed"]

    @property
    def output(self) -> Float[Tensor, " embed"]:
        """M(x)."""
        return self.heads.sum(dim=(0, 1)) + self.mlps.sum(dim=0) + self.input + self.constants


@dataclass(frozen=True)
class Along:
    """What the picture is asked of: a text (its place), versus another one or versus what is usual (None)."""

    text: int = 0
    versus: int | None = None


@dataclass(frozen=True)
class Reading:
    """One picture and some texts, taken apart.

    picture: upright, at the size at which maps are laid over it. seen: as the model saw it. embeddings: of the texts.
    usual: the mean embedding of the texts that a text alone is held against, as in `summand.heatmap`. tokens: what each
    head writes from each token along each text, and last along `usual`. scale: what cosines are multiplied by before
    the softmax. kept: what was worked out of it since.
    """

    model: Model
    picture: Image.Image
    pixels: Float[Tensor, "1 3 height width"]
    seen: np.ndarray
    texts: tuple[str, ...]
    embeddings: Float[Tensor, "text embed"]
    usual: Float[Tensor, " embed"]
    terms: Terms
    tokens: Float[Tensor, "layer head token text_or_usual"]
    scale: float
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def weights(self, along: Along) -> Float[Tensor, " text_or_usual"]:
        """w with d = Σ w t over the texts and `usual`: t − t′, or t − usual."""
        count = len(self.texts)
        for place in (along.text, along.versus):
            if place is not None and not 0 <= place < count:
                raise SummandError(f"there is no text {place}; there are 0 to {count - 1}")
        if along.text == along.versus:
            raise SummandError(f"{self.texts[along.text]!r} is compared with itself; choose another text")
        found = torch.zeros(count + 1, dtype=self.embeddings.dtype)
        found[along.text] = 1
        found[count if along.versus is None else along.versus] = -1
        return found

    def direction(self, along: Along) -> Float[Tensor, " embed"]:
        """d: of two texts their difference; of one, what sets it apart from the usual."""
        return self.weights(along) @ torch.cat([self.embeddings, self.usual[None]])

    def name(self, along: Along) -> str:
        other = "the usual text" if along.versus is None else self.texts[along.versus]
        return f"{self.texts[along.text]} versus {other}"


def usual_text(model: Model) -> Float[Tensor, " embed"]:
    """The mean embedding of a spread of the model's own description pool."""
    return model.encode_text(default_contrast(model)).mean(dim=0).float().cpu()


@torch.no_grad()
def read(model: Model, picture: Image.Image, texts: Sequence[str], usual: Tensor | None = None) -> Reading:
    """Take a picture apart along some texts. Raises `SummandError` for texts that the model cannot read."""
    picture = as_rgb(picture)
    embeddings = model.encode_text(list(texts)).float().cpu()
    usual = usual_text(model) if usual is None else usual
    pixels = pixels_of(model, [picture])

    def work() -> tuple[Terms, Tensor]:
        directions = torch.cat([embeddings, usual[None]]).to(model.device)
        return terms_of(model, pixels), model.decompose(pixels).toward(directions)[0].float().cpu()

    terms, tokens = model.at_once(work)
    seen, scale = model.picture(pixels)[0], logit_scale(model)
    return Reading(model, _to_show(picture), pixels, seen, tuple(texts), embeddings, usual, terms, tokens, scale)


def _to_show(picture: Image.Image) -> Image.Image:
    """Not larger than a page needs, and small ones in whole steps so large that their pixels can be seen."""
    if (steps := _LONGEST_SIDE // max(picture.size)) > 1:
        return picture.resize((picture.width * steps, picture.height * steps), Image.Resampling.NEAREST)
    shown = picture.copy()
    shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    return shown


@torch.no_grad()
def terms_of(model: Model, pixels: Float[Tensor, "1 3 height width"]) -> Terms:
    """The terms of one picture, of an ablated model as well."""
    parts = model.decompose(pixels)
    found = (parts.heads(), parts.mlps(), parts.embedding(), parts.bias())
    return Terms(*(term[0].float().cpu() for term in found))


def probabilities(terms: Terms, reading: Reading) -> list[float]:
    """softmax_t(scale · cos(M, t)) over the texts."""
    return (reading.scale * cosines(terms, reading)).softmax(dim=0).tolist()


def cosines(terms: Terms, reading: Reading) -> Float[Tensor, " text"]:
    """cos(M(x), t) of every text."""
    return F.normalize(reading.embeddings, dim=1) @ F.normalize(terms.output, dim=0)


def score(terms: Terms, reading: Reading, along: Along) -> float:
    """scale · ⟨M, d⟩ / ‖M‖; for two texts ln(p / p′), the log-odds of their probabilities."""
    return float(_unit(terms, reading) * terms.output @ reading.direction(along))


def waterfall(terms: Terms, reading: Reading, along: Along) -> list[Step]:
    """scale · ⟨term, d⟩ / ‖M‖ of every layer's heads and MLP, the input and the constants: they add up to `score`."""
    d = _unit(terms, reading) * reading.direction(along)
    heads, mlps = terms.heads.sum(dim=1) @ d, terms.mlps @ d
    return steps(heads.tolist(), mlps.tolist(), float(terms.input @ d), float(terms.constants @ d))


def head_scores(terms: Terms, reading: Reading, along: Along) -> Float[Tensor, "layer head"]:
    """scale · ⟨head, d⟩ / ‖M‖ of every head."""
    return _unit(terms, reading) * terms.heads @ reading.direction(along)


def token_map(reading: Reading, along: Along) -> Float[Tensor, "row column"]:
    """scale · Σ_{l,h} ⟨c_patch^{l,h}, d⟩ / ‖M‖: what each patch adds to the score through all heads."""
    return _grid(reading, reading.tokens.sum(dim=(0, 1)) @ reading.weights(along))


def head_map(reading: Reading, along: Along, layer: int, head: int) -> Float[Tensor, "row column"]:
    """The same through one head."""
    layers, heads = reading.tokens.shape[:2]
    if not (0 <= layer < layers and 0 <= head < heads):
        raise SummandError(f"there is no head {layer}.{head}; heads are 0.0 to {layers - 1}.{heads - 1}")
    return _grid(reading, reading.tokens[layer, head] @ reading.weights(along))


def _grid(reading: Reading, along_tokens: Float[Tensor, " token"]) -> Float[Tensor, "row column"]:
    tower = reading.model.tower
    return _unit(reading.terms, reading) * along_tokens[tower.prefix :].unflatten(0, tower.grid)


def _unit(terms: Terms, reading: Reading) -> float:
    return reading.scale / max(float(terms.output.norm()), 1e-12)
