"""Labels for heads: TextSpan's texts, how much they explain, and how much the head matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..statistics.moments import Moments
from ..statistics.variance_over import variance_over
from ..towers.finite import check_finite
from .lexicons import attribute_of
from .textspan import textspan

_TEXTS_THAT_NAME = 3


@dataclass(frozen=True)
class HeadLabel:
    """One head in words.

    texts: in TextSpan's order. explained: cumulative share of the head's variance. importance: the head's share, among
    all heads, of the variance along the class texts. indices: of the texts in the pool.
    """

    layer: int
    head: int
    texts: tuple[str, ...]
    explained: tuple[float, ...]
    importance: float
    indices: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.head}"

    @property
    def attribute(self) -> str | None:
        """What the first of the texts that span the head are about, weighted by the variance that each adds; None where
        they name no attribute of a lexicon.

        No label: no image says that it is true, and it needs none, for statistics alone have it. The label's attribute
        (`survey.words.attribute`) needs images, and studies take it where a survey has labels."""
        return named_attribute(self.texts, self.explained)


def named_attribute(texts: Sequence[str], explained: Sequence[float]) -> str | None:
    """The attribute named by the first texts, each counted by the variance it adds; None if the first names none."""
    votes: dict[str, float] = {}
    before = 0.0
    for text, share in list(zip(texts, explained, strict=True))[:_TEXTS_THAT_NAME]:
        attribute = attribute_of(text)
        if attribute is not None:
            votes[attribute] = votes.get(attribute, 0.0) + share - before
        before = share
    return max(votes, key=lambda name: votes[name]) if votes else None


def importance(moments: Moments, classes: Float[Tensor, "text embed"]) -> Float[Tensor, "layer head"]:
    """Share of each head in Σ_heads Σ_texts Var⟨head, t − t̄⟩: how much it moves the image among the class texts."""
    check_finite(classes, "class text", "encode the texts again")
    along = variance_over(moments, classes - classes.mean(dim=0))
    return along / along.sum().clamp(min=torch.finfo(along.dtype).tiny)


def label_heads(
    moments: Moments,
    layers: Sequence[int],
    texts: Sequence[str],
    embeddings: Float[Tensor, "text embed"],
    shares: Float[Tensor, "layer head"],
    size: int = 10,
) -> list[HeadLabel]:
    """TextSpan for every head of the given layers, ordered by layer and head, a layer at a time. `shares` as from
    `importance`.

    A head that writes nothing, such as a pruned one, has no texts and is left out.
    """
    labels = []
    for layer in layers:
        spans = textspan(moments.select([layer]), embeddings, size)
        for head in range(spans.indices.shape[1]):
            chosen = tuple(int(i) for i in spans.indices[0, head] if i >= 0)
            if not chosen:
                continue
            labels.append(
                HeadLabel(
                    layer=layer,
                    head=head,
                    texts=tuple(texts[i] for i in chosen),
                    explained=tuple(float(e) for e in spans.explained[0, head, : len(chosen)]),
                    importance=float(shares[layer, head]),
                    indices=chosen,
                )
            )
    return labels
