"""An image or a text as the sum of its tokens and a rest, and what is usual of each of these terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import ImageSource
from ..effects.direct import Parts
from ..errors import SummandError
from ..models import Model
from ..survey.batch import read
from ..towers.pieces import SPECIAL, Piece
from ..towers.precision import doubled
from ..unit import Unit

USUAL = "usual"
_WORD = "word"
Head = tuple[int, int]


@dataclass(frozen=True)
class Terms:
    r"""M / ‖M‖ as a sum: Σ_i tokens_i + Σ rest, where Σ heads = Σ_i tokens_i.

    tokens: what each token adds through the chosen heads. rest: the terms that are no token's, by name. heads: the
    chosen heads themselves, which are (layer, head).
    """

    tokens: Float[Tensor, "token embed"]
    rest: dict[str, Float[Tensor, " embed"]]
    heads: Float[Tensor, "head embed"]
    chosen: tuple[Head, ...]

    @property
    def total(self) -> Float[Tensor, " embed"]:
        return self.tokens.sum(dim=0) + sum(self.rest.values())

    def beyond(self, usual: Terms) -> Terms:
        """The same sum with what is usual of each term as a term of its own: Σ_i (c_i − u_i) + … + Σ u."""
        rest = {name: term - usual.rest[name] for name, term in self.rest.items()}
        return replace(
            self, tokens=self.tokens - usual.tokens, rest=rest | {USUAL: usual.total}, heads=self.heads - usual.heads
        )


@torch.no_grad()
def terms_of(parts: Parts, chosen: Sequence[Head] | None = None) -> list[Terms]:
    """The terms of each image or text of a decomposition, over its length, in fp64."""
    lengths = doubled(parts.total()).norm(dim=1)
    every = doubled(parts.heads())  # [image, layer, head, embed]
    which = [(layer, head) for layer in range(every.shape[1]) for head in range(every.shape[2])]
    heads = tuple(which if chosen is None else chosen)
    own = torch.stack([every[:, layer, head] for layer, head in heads], dim=1)
    rest = {"embedding": parts.embedding(), "mlps": parts.mlps().sum(dim=1), "bias": parts.bias()}
    if chosen is not None:
        rest = {"other heads": every.sum(dim=(1, 2)) - own.sum(dim=1), **rest}
    tokens = doubled(parts.tokens() if chosen is None else _through(parts, heads))
    return [
        Terms(
            (tokens[i] / length).cpu(),
            {name: (doubled(term[i]) / length).cpu() for name, term in rest.items()},
            (own[i] / length).cpu(),
            heads,
        )
        for i, length in enumerate(lengths)
    ]


def _through(parts: Parts, heads: Sequence[Head]) -> Float[Tensor, "image token embed"]:
    """Σ_{(l,h) chosen} a_i v_i W_O^{l,h} F / σ: a product of channels, never a vector of each head and token."""
    layers = sorted({layer for layer, _ in heads})
    effects = parts.token_effects(layers)
    total: Tensor | None = None
    for place, layer in enumerate(layers):
        own = [head for at, head in heads if at == layer]
        values = effects.coefficients[:, place, own]  # [image, head, token, channel]
        directions = effects.select(slice(place, place + 1)).directions[0, own, 0]  # [head, channel, embed]
        added = torch.einsum("ihtc,hce->ite", values, directions.to(values))
        total = added if total is None else total + added
    assert total is not None
    return total


@torch.no_grad()
def usual_image(model: Model, source: ImageSource, chosen: Sequence[Head] | None = None, batch_size: int = 32) -> Terms:
    """The mean of every term over images: of token i its mean at place i."""
    return _mean([_sum(terms_of(batch.parts, chosen)) for batch in read(model, source, batch_size)])


@dataclass(frozen=True)
class Contrast:
    """Texts that other texts are held against, taken apart once."""

    found: tuple[tuple[Terms, tuple[Piece, ...]], ...]

    @classmethod
    def of(cls, model: Model, texts: Sequence[str], chosen: Sequence[Head] | None = None) -> Contrast:
        parts = model.decompose_text(list(texts))
        return cls(tuple(zip(terms_of(parts, chosen), map(tuple, parts.pieces), strict=True)))

    def usual(self, own: Sequence[Piece]) -> Terms:
        """The mean of every term over the texts, whose words stand in the places of those of one's `own`."""
        found = [replace(terms, tokens=aligned(terms.tokens, pieces, own)) for terms, pieces in self.found]
        return _mean([_sum(found)])


def aligned(
    tokens: Float[Tensor, "token embed"], pieces: Sequence[Piece], own: Sequence[Piece]
) -> Float[Tensor, "token2 embed"]:
    """The tokens of a text in the places of another's: word for word where both have as many, else their sum in equal
    parts over its words; start, end and padding likewise. The sum stays the same."""
    found = tokens.new_zeros(len(own), tokens.shape[1])
    for role in dict.fromkeys(map(_role, pieces)):
        places = [i for i, piece in enumerate(pieces) if _role(piece) == role]
        there = [i for i, piece in enumerate(own) if _role(piece) == role] or list(range(len(own)))
        if len(places) == len(there):
            found[there] += tokens[places]
        else:
            found[there] += tokens[places].sum(dim=0) / len(there)
    return found


def _role(piece: Piece) -> str:
    return piece.text if piece.text in SPECIAL else _WORD


def _sum(terms: Sequence[Terms]) -> tuple[Terms, int]:
    first = terms[0]
    rest = {name: torch.stack([one.rest[name] for one in terms]).sum(dim=0) for name in first.rest}
    tokens, heads = (torch.stack([getattr(one, name) for one in terms]).sum(dim=0) for name in ("tokens", "heads"))
    return Terms(tokens, rest, heads, first.chosen), len(terms)


def _mean(sums: Sequence[tuple[Terms, int]]) -> Terms:
    whole, count = _sum([terms for terms, _ in sums])[0], sum(number for _, number in sums)
    return replace(
        whole,
        tokens=whole.tokens / count,
        rest={name: term / count for name, term in whole.rest.items()},
        heads=whole.heads / count,
    )


def heads_asked(
    side: str, layers: Sequence[int] | None, heads: Sequence[Unit] | None, have: tuple[int, int]
) -> tuple[Head, ...] | None:
    """Which heads are asked for, by layers or one by one; None for all. have: layers and heads of the tower.

    Raises `SummandError` for one that the tower does not have. side: whose tower, for the error.
    """
    if layers is None and heads is None:
        return None
    if wrong := [layer for layer in layers or () if layer not in range(have[0])]:
        raise SummandError(f"the {side} tower has layers 0 to {have[0] - 1}; got {', '.join(map(str, wrong))}")
    asked = (
        tuple((layer, head) for layer in layers for head in range(have[1]))
        if layers is not None
        else tuple((unit.index[0], unit.index[1]) for unit in heads or ())
    )
    if not asked or any(layer not in range(have[0]) or head not in range(have[1]) for layer, head in asked):
        raise SummandError(
            f"the {side} tower has heads 0.0 to {have[0] - 1}.{have[1] - 1}; got "
            f"{', '.join(f'{layer}.{head}' for layer, head in asked) or 'none'}"
        )
    return tuple(dict.fromkeys(asked))
