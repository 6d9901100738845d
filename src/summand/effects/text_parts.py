"""Direct effects of a batch of texts: the text embedding as a sum over layers, heads and tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Int
from torch import Tensor

from ..towers.pieces import CLASS, Piece
from ..towers.text import TextTower
from .direct import Parts
from .questions import Asked


class TextParts(Parts):
    r"""E(t) = embedding + Σ_l Σ_h head_{l,h} + Σ_l mlp_l + bias for texts, as `Parts` is for images.

    The pooled token is the one that the text tower reads out (end of text, or the last). `tokens()` and `toward()`
    have one entry for each token that the tower reads; `words()` says which piece of the text each one is.
    """

    def __init__(
        self,
        tower: TextTower,
        tokens: Int[Tensor, "text token"],
        encode: Callable[[Tensor], Tensor],
        pieces: Sequence[Sequence[Piece]],
        asked: Asked | None = None,
    ) -> None:
        super().__init__(tower, tokens, encode, asked=asked)
        # CoCa's class token is put behind the text.
        self.pieces = [[*row, *[Piece(CLASS)] * (tower.extra_tokens)] for row in pieces]

    def words(self) -> list[list[str]]:
        """The token axis as pieces of each text; `<start>`, `<end>` and `<pad>` for tokens that are no text."""
        return [[piece.text for piece in row] for row in self.pieces]
