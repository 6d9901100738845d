"""Which word of a text goes with which patch of an image, as pages show it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from markupsafe import Markup

from ..maps.match import Side
from ..maps.token_terms import Terms
from ..towers.pieces import SPECIAL
from .html import pages

_REST = "Point at a word to see its patches, or at a patch to see its words."


@dataclass(frozen=True)
class WordMap:
    """What each word of a text adds to the cosine with an image, with each of its patches. cosine: the model's own."""

    text: str
    words: tuple[str, ...]
    values: Float[np.ndarray, "word row column"]
    cosine: float

    @property
    def adds(self) -> float:
        """What all words and patches add to the cosine."""
        return float(self.values.sum())

    def of_patch(self, row: int, column: int) -> list[tuple[str, float]]:
        """Each word with what it adds with one patch."""
        return list(zip(self.words, self.values[:, row, column].tolist(), strict=True))


def word_map(image: Terms, text: Side, grid: tuple[int, int], prefix: int) -> WordMap:
    """values[w, i] = Σ_{j ∈ w} ⟨a_i, b_j⟩ of patch i and the tokens j of a word, as in `summand.match`; without the
    marks of start and end. prefix: tokens of the image before its patches."""
    spoken = [(word, list(places)) for word, places in text.words if word not in SPECIAL]
    along = image.tokens[prefix:] @ text.terms.tokens.T
    rows = [along[:, places].sum(dim=1) for _, places in spoken]
    values = torch.stack(rows) if rows else along.new_zeros(0, len(along))
    return WordMap(
        text.label, tuple(word for word, _ in spoken), values.unflatten(1, grid).numpy(), float(image.total @ text.unit)
    )


def as_bytes(one: WordMap) -> dict[str, Any]:
    """For the script: the words, what one of them adds with a patch at most, and values of one byte."""
    most = float(np.abs(one.values).max(initial=0))
    values = np.rint(127 * one.values / (most or 1)).astype(np.int8)
    return {"words": one.words, "most": float(f"{most:.3g}"), "values": base64.b64encode(values.tobytes()).decode()}


def block(maps: Sequence[WordMap], picture: str | None, alt: str, box: tuple[float, float, float, float]) -> Markup:
    """Texts beside their picture, joined by `summandWords` (`script`): a word that is pointed at shows its patches, a
    patch the words. box: where the patches lie in the picture, (left, top, right, bottom) from 0 to 1."""
    left, top, right, bottom = (100 * share for share in box)
    data = {"grid": maps[0].values.shape[1:], "texts": [as_bytes(one) for one in maps]} if maps else {}
    template = pages("summand.report").get_template("words.html.j2")
    return Markup(  # noqa: S704 (rendered by a template that escapes)
        template.render(
            data=json.dumps(data, ensure_ascii=False), maps=maps, picture=picture, alt=alt, rest=_REST,
            place={"left": left, "top": top, "width": right - left, "height": bottom - top},
        )
    )  # fmt: skip


def script() -> str:
    """The function `summandWords(root)`, which joins the words and patches of every block below an element."""
    return (files("summand.report") / "templates" / "words.js").read_text(encoding="utf-8")
