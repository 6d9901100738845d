"""Which token of an image or text goes with which of another: both are exact sums, so their cosine is a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..errors import SummandError
from ..models import Model, pixels_of
from ..models.token_pieces import whole_words
from ..towers.pieces import PAD
from ..towers.pool import PoolTower
from ..towers.precision import doubled
from .token_terms import USUAL, Contrast, Head, Terms, terms_of


@dataclass(frozen=True)
class Side:
    """An image or a text that is matched. names: of its tokens; words: those that belong together, with their places.
    unit: the model's own embedding, of length 1. picture: what the model sees, uint8 [height, width, 3]."""

    kind: Literal["image", "text"]
    label: str
    terms: Terms
    names: tuple[str, ...]
    words: tuple[tuple[str, tuple[int, ...]], ...]
    unit: Float[Tensor, " embed"]
    picture: np.ndarray | None = None
    size: tuple[int, int] | None = None
    """Height and width of the original picture."""
    grid: tuple[int, int] = (0, 0)
    prefix: int = 0


@dataclass(frozen=True)
class Match:
    r"""cos(a, b) = Σ_ij ⟨a_i, b_j⟩ + what the rest of each has in common with the other, all over ‖M(a)‖ ‖M(b)‖."""

    a: Side
    b: Side

    @cached_property
    def matrix(self) -> Float[np.ndarray, "token token2"]:
        """⟨a_i, b_j⟩ / (‖M(a)‖ ‖M(b)‖), a row a token of a, a column a token of b."""
        return (self.a.terms.tokens @ self.b.terms.tokens.T).numpy()

    @cached_property
    def heads(self) -> Float[np.ndarray, "head head2"]:
        """The same of heads: their sum is that of `matrix`."""
        return (self.a.terms.heads @ self.b.terms.heads.T).numpy()

    @cached_property
    def words(self) -> Float[np.ndarray, "word word2"]:
        """`matrix` summed over the tokens of each word; a patch is its own word."""
        rows = np.stack([self.matrix[list(places)].sum(axis=0) for _, places in self.a.words])
        return np.stack([rows[:, list(places)].sum(axis=1) for _, places in self.b.words], axis=1)

    @cached_property
    def account(self) -> dict[str, dict[str, float]]:
        """Every term of a with every term of b, "tokens" being `matrix` as a whole: what adds up to the similarity."""
        sums = [{"tokens": one.terms.tokens.sum(dim=0), **one.terms.rest} for one in (self.a, self.b)]
        return {own: {other: float(x @ y) for other, y in sums[1].items()} for own, x in sums[0].items()}

    @property
    def similarity(self) -> float:
        """The model's own cosine."""
        return float(self.a.unit @ self.b.unit)

    @property
    def residual(self) -> float:
        """What the matrix and the rest miss of it."""
        summed = self.matrix.sum() + sum(sum(row.values()) for row in self.account.values())
        return abs(float(summed) - self.account["tokens"]["tokens"] - self.similarity)

    @property
    def unusual(self) -> float:
        """The similarity without what is usual: ⟨â − ā, b̂ − b̄⟩ where each side was given something usual."""
        rows = (row for name, row in self.account.items() if name != USUAL)
        return sum(value for row in rows for name, value in row.items() if name != USUAL)

    def row(self, word: int) -> Float[np.ndarray, "row column"]:
        """Where in image a a word of b looks: its column of `words` on the grid of patches."""
        if self.a.kind != "image":
            raise SummandError("only an image has a grid of patches; give the image first")
        return self.words[self.a.prefix :, word].reshape(self.a.grid)


@torch.no_grad()
def image_side(
    model: Model,
    picture: Image.Image,
    label: str = "",
    chosen: Sequence[Head] | None = None,
    usual: Terms | None = None,
) -> Side:
    """An image as a side of a match. chosen: which heads' tokens; the others are a term of the rest. usual: of
    `usual_image`, taken away from every token."""
    pixels = pixels_of(model, [picture])
    parts, tower = model.decompose(pixels), model.tower
    terms = terms_of(parts, chosen)[0]
    unit = F.normalize(doubled(model.encode_image(pixels)[0]), dim=0).cpu()
    first = "mean" if isinstance(tower, PoolTower) else "class"
    names = [first, *(f"register {i}" for i in range(1, tower.prefix))][: tower.prefix]
    names += [f"{row},{column}" for row in range(tower.grid[0]) for column in range(tower.grid[1])]
    words = tuple((name, (place,)) for place, name in enumerate(names))
    terms = terms if usual is None else terms.beyond(usual)
    return Side(
        "image", label, terms, tuple(names), words, unit, model.picture(pixels)[0],
        (picture.height, picture.width), tower.grid, tower.prefix,
    )  # fmt: skip


@torch.no_grad()
def text_side(
    model: Model, text: str, chosen: Sequence[Head] | None = None, contrast: Sequence[str] | Contrast | None = None
) -> Side:
    """A text as a side of a match. contrast: texts whose mean is taken away, word by word (`aligned`); or these taken
    apart already, where many texts are held against them."""
    parts = model.decompose_text(text)
    terms, pieces = terms_of(parts, chosen)[0], parts.pieces[0]
    if contrast is not None:
        against = contrast if isinstance(contrast, Contrast) else Contrast.of(model, contrast, chosen)
        terms = terms.beyond(against.usual(pieces))
    words = tuple(
        (word, tuple(places))
        for word, places in whole_words(pieces)
        if word != PAD or bool(terms.tokens[places].any())  # padding that no token sees adds nothing
    )
    unit = doubled(model.encode_text(text)[0]).cpu()
    return Side("text", text, terms, tuple(piece.text for piece in pieces), words, unit)
