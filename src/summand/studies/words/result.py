"""What each word adds, as a result."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ..columns import Column, Table
from ..result import Result

_OTHER = {"embedding": "the read-out token itself", "mlps": "the MLPs", "bias": "constants"}


class Words(Result):
    """Contributions that sum to a cosine similarity.

    rows: word, contribution (through all heads), in the order of the text, with `<start>`, `<end>` and, where the tower
    reads it, `<pad>`. other: what is no word's own: "embedding" (the pooled token itself), "mlps" and "bias".
    similarity: the model's own cosine; residual: what the sum misses of it.
    """

    command: ClassVar[str] = "words"
    other: dict[str, float]
    similarity: float
    residual: float

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.rows["word"])

    @property
    def contributions(self) -> tuple[float, ...]:
        return tuple(self.rows["contribution"])

    def tables(self) -> list[Table]:
        rest: list[dict[str, Any]] = [
            {"word": said, "contribution": self.other[name], "bar": None} for name, said in _OTHER.items()
        ]
        words = self.rows.assign(bar=self.rows["contribution"])
        whole: dict[str, Any] = {"word": "cosine similarity", "contribution": self.similarity, "bar": None}
        columns = (
            Column("word", kind="words"),
            Column("contribution", "adds", form="+.3f"),
            Column("bar", "against │ for", kind="bar"),
        )
        return [Table(pd.DataFrame([*words.to_dict("records"), *rest, whole]), columns)]
