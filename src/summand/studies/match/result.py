"""A match, as a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ...atomic import replacing
from ...maps.match import Match, Side
from ...maps.token_terms import USUAL
from ..columns import Column, Table
from ..result import Result

_ADDS = Column("adds", form="+.4f")
_HEADS = 5
_NAMES = {"other heads": "other heads", "embedding": "embedding", "mlps": "MLPs", "bias": "constants", USUAL: "usual"}


class Matched(Result):
    """A cosine as a matrix of tokens.

    rows: the pairs furthest from zero: a, b (a word, or a patch as row,column), adds; a_x, a_y, b_x, b_y, where the
    middle of a patch lies in its picture. head_pairs: the same of heads, with their labels where they are known.
    account: every term of a with every term of b, "tokens" being the whole matrix; its sum is `similarity`, the
    model's own cosine, to `residual`. unusual: the similarity without what is usual, where that was given.

    found: all of it: `found.matrix` [token of a, token of b], `found.words`, `found.heads`, and its sides.
    """

    command: ClassVar[str] = "match"
    drawn_by: str | None = "summand.report.match:figure"
    similarity: float
    residual: float
    unusual: float | None
    account: dict[str, dict[str, float]]
    head_pairs: list[dict[str, Any]]

    def __init__(self, rows: Any, options: Any, *, found: Match, **more: Any) -> None:
        super().__init__(rows, options, **more)
        self.found = found

    @property
    def matrix(self) -> pd.DataFrame:
        """⟨a_i, b_j⟩ over both lengths, a row a token of a and a column a token of b."""
        return pd.DataFrame(self.found.matrix, index=list(self.found.a.names), columns=list(self.found.b.names))

    def tables(self) -> list[Table]:
        a, b = self.found.a, self.found.b
        mixed, (own, other) = a.kind != b.kind, _called(self.found)
        first = _words(self.found) if mixed else Table(
            self.rows, (Column("a", own, kind="id"), Column("b", other, kind="id"), _ADDS), "the strongest pairs"
        )  # fmt: skip
        return [first, self._heads(), self._account()]

    def _heads(self) -> Table:
        some, columns = self.head_pairs[:_HEADS], []
        for name, said in zip("ab", _called(self.found), strict=True):
            columns.append(Column(name, f"head of {said}", kind="id"))
            if any(row[f"{name}_label"] is not None for row in some):
                columns.append(Column(f"{name}_label", "its words", kind="words"))
        return Table(pd.DataFrame(some), [*columns, _ADDS], "the strongest pairs of heads")

    def _account(self) -> Table:
        a, b = self.found.a, self.found.b
        rows = [{"term": _said(name, a), **values} for name, values in self.account.items()]
        others = next(iter(self.account.values()))
        columns = (
            Column("term", ", ".join(_called(self.found)), kind="id"),
            *(Column(name, _said(name, b), form="+.3f") for name in others),
        )
        beyond = "" if self.unusual is None else f"; {self.unusual:+.4f} without what is usual".replace("-", "−")
        caption = f"adds up to the cosine, {self.similarity:+.4f}, to {self.residual:.0e}".replace("-", "−") + beyond
        return Table(pd.DataFrame(rows), columns, "every term with every term", caption)

    def save_more(self, folder: Path) -> dict[str, Path]:
        return self.save_arrays(folder / "match.npz")

    def save_arrays(self, path: Path) -> dict[str, Path]:
        """matrix, a and b (names of the tokens); heads, a_heads and b_heads (layer and head)."""
        a, b = self.found.a, self.found.b
        of_heads = {"a_heads": np.array(a.terms.chosen), "b_heads": np.array(b.terms.chosen)}
        names: dict[str, Any] = {"a": np.array(a.names), "b": np.array(b.names), **of_heads}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, matrix=self.found.matrix, heads=self.found.heads, **names)
        return {"matrix": path}


def _called(found: Match) -> tuple[str, str]:
    """What the sides are called: picture and text, or picture a and picture b."""
    own, other = ("picture" if side.kind == "image" else "text" for side in (found.a, found.b))
    return (f"{own} a", f"{other} b") if own == other else (own, other)


def _said(name: str, side: Side) -> str:
    return _NAMES.get(name) or ("patches" if side.kind == "image" else "words")


def _words(found: Match) -> Table:
    """Of a picture and a text what each word adds with all of the picture, and its strongest patch."""
    text, image = (found.b, found.a) if found.b.kind == "text" else (found.a, found.b)
    values = found.words if found.b.kind == "text" else found.words.T  # [patch, word]
    patches = values[image.prefix :]
    rows = [
        {
            "word": word,
            "adds": float(values[:, place].sum()),
            "bar": float(values[:, place].sum()),
            "at": image.names[image.prefix + int(patches[:, place].argmax())],
            "most": float(patches[:, place].max()),
        }
        for place, (word, _) in enumerate(text.words)
    ]
    columns = (
        Column("word", kind="words"),
        _ADDS,
        Column("bar", "against │ for", kind="bar"),
        Column("at", "most at", kind="id"),
        Column("most", "there", form="+.4f"),
    )
    rows_, columns_ = image.grid
    return Table(pd.DataFrame(rows), columns, "what each word adds with the picture",
                 f"most at: row,column of {rows_} × {columns_} patches, from the upper left")  # fmt: skip
