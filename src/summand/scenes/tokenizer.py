"""A word-level tokenizer over the scenes vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import SummandError
from ..towers.pieces import END, PAD, START, Piece
from .captions import LONGEST
from .meaning import check_words, vocabulary

CONTEXT_LENGTH = LONGEST + 2
WORLD = "scenes"


class SceneTokenizer:
    """texts → token ids, int64 [text, CONTEXT_LENGTH]: start, words, end, zeros.

    The end token has the largest id, which is where open_clip's `argmax` pool reads the text tower. A word outside
    the vocabulary and a text longer than the context are errors.
    """

    world = WORLD

    def __init__(self) -> None:
        words = vocabulary()
        self.start, self.end = len(words) + 1, len(words) + 2
        self.vocab_size = len(words) + 3
        self.context_length = CONTEXT_LENGTH
        self._ids = {word: i + 1 for i, word in enumerate(words)}

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        if isinstance(texts, str):
            texts = [texts]
        tokens = torch.zeros(len(texts), CONTEXT_LENGTH, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = [self._ids[word] for word in check_words(text)]
            if len(ids) + 2 > CONTEXT_LENGTH:
                raise SummandError(
                    f"a text of {len(ids)} words is longer than the {CONTEXT_LENGTH - 2} that a scenes model reads: "
                    f"{text!r}; shorten it"
                )
            tokens[row, : len(ids) + 2] = torch.tensor([self.start, *ids, self.end])
        return tokens

    def pieces_of(self, row: Sequence[int]) -> list[Piece]:
        """The tokens of one text as words."""
        words = {i: word for word, i in self._ids.items()} | {self.start: START, self.end: END, 0: PAD}
        return [Piece(words[i]) for i in row]
