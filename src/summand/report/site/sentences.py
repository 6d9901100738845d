"""The sentences of an image's page, word by word with its patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...data import ImageSource
from ...effects.direct import Parts
from ...errors import SummandError
from ...maps.contrast import default_contrast
from ...maps.match import Side, text_side
from ...maps.token_terms import Contrast, terms_of
from ...models import Model
from ..words import WordMap, word_map

_MOST = 4


class Sentences:
    """What an image is called by its source (where that has captions), and the texts that the model reads in it; each
    held, word by word, against a spread of the model's descriptions. why: said where the words of this model's text
    tower cannot be taken apart."""

    def __init__(self, model: Model, source: ImageSource | None) -> None:
        self.model, self.why = model, ""
        self._caption: Any = getattr(source, "caption", None)
        self._sides: dict[str, Side | None] = {}
        self._contrast: Contrast | None = None

    def of(self, image: int, parts: Parts, read: Sequence[str]) -> list[WordMap]:
        """parts: of this one image. read: texts that the model reads in it."""
        said = [self._caption(image)] if self._caption is not None else []
        tower, terms = self.model.tower, terms_of(parts)[0]
        sides = [self._side(text) for text in dict.fromkeys((*said, *read)) if text]
        return [word_map(terms, side, tower.grid, tower.prefix) for side in sides if side is not None][:_MOST]

    def _side(self, text: str) -> Side | None:
        """None for a text that cannot be taken apart; of a text tower that cannot, nothing is tried again."""
        if text not in self._sides and not self.why:
            try:
                if self._contrast is None:
                    self._contrast = Contrast.of(self.model, default_contrast(self.model))
            except SummandError as error:
                self.why = str(error)
                return None
            try:
                self._sides[text] = text_side(self.model, text, contrast=self._contrast)
            except SummandError:  # a word that the model does not know
                self._sides[text] = None
        return self._sides.get(text)
