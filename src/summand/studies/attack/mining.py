"""The words that pull an image of one class towards another, through the neurons between them (paper A, §5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...models import Model
from ...scenes import ATTRIBUTES, prompts
from ...scenes.pretrained import NAMES as SCENES_MODELS
from ...text.contributions import words_of_directions
from ...text.pools import Pool
from ...text.sparse import prepare_atoms, sparse_code
from ..profile import Profile

Method = Literal["second-order", "random neurons", "indirect effects", "similar words"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Words:
    """Words of a pool with their scores, best first; only positive ones. units: the neurons or pairs they came from."""

    method: Method
    words: tuple[str, ...]
    scores: tuple[float, ...]
    units: tuple[str, ...] = ()


def class_embedding(model: Model, name: str) -> Float[Tensor, " embed"]:
    """A class as the classifier sees it: its bare name (as the papers' code), for a shape of the scenes the mean of the
    shape's prompts."""
    if model.name in SCENES_MODELS:
        shapes = [str(value) for value in ATTRIBUTES["shape"]]
        if name not in shapes:
            raise SummandError(f"classes of the scenes models are shapes ({', '.join(shapes)}), got {name!r}")
        return F.normalize(model.encode_text(prompts("shape")[name]).mean(dim=0), dim=0)
    return model.encode_text(name)[0]


def second_order_words(
    profile: Profile,
    towards: Float[Tensor, " embed"],
    pool: Pool,
    texts: Float[Tensor, "text embed"],
    drop: Callable[[Sequence[str]], Sequence[bool]],
    *,
    neurons: int = 100,
    size: int | None = None,
    words: int = 25,
) -> Words:
    r"""w_j = Σ_{n ∈ N} γ_j^n ⟨v, r_n⟩ over the `neurons` units of largest |⟨v, r_n⟩| (Eq. 6), the best `words` of them.

    towards: v = M_text(classified as) − M_text(image of). texts: the pool's embeddings. drop: which words to leave out,
    as those that name the target. size: texts in a unit's sparse code; 128, as the paper, for a pool of over 1,000.
    """
    directions = profile.directions.float()
    along = (directions @ towards.to(directions)).abs()
    chosen = along.argsort(descending=True, stable=True)[:neurons]
    names = profile.units
    return _words("second-order", directions[chosen], towards, pool, texts, drop, size, words,
                  [names[int(n)].name for n in chosen])  # fmt: skip


def random_words(
    profile: Profile,
    towards: Float[Tensor, " embed"],
    pool: Pool,
    texts: Float[Tensor, "text embed"],
    drop: Callable[[Sequence[str]], Sequence[bool]],
    *,
    neurons: int = 100,
    size: int | None = None,
    words: int = 25,
    seed: int = 0,
) -> Words:
    """The same through units drawn at random: the paper's first baseline."""
    directions = profile.directions.float()
    drawn = np.random.default_rng(seed).permutation(len(directions))[:neurons]
    names = profile.units
    return _words("random neurons", directions[torch.from_numpy(drawn)], towards, pool, texts, drop, size, words,
                  [names[int(n)].name for n in drawn])  # fmt: skip


def direction_words(
    directions: Float[Tensor, "unit embed"],
    names: Sequence[str],
    towards: Float[Tensor, " embed"],
    pool: Pool,
    texts: Float[Tensor, "text embed"],
    drop: Callable[[Sequence[str]], Sequence[bool]],
    *,
    size: int | None = None,
    words: int = 25,
) -> Words:
    """The same through given directions: the principal ones of indirect effects are the paper's second baseline."""
    return _words("indirect effects", directions.float(), towards, pool, texts, drop, size, words, list(names))


def similar_words(
    towards: Float[Tensor, " embed"],
    pool: Pool,
    texts: Float[Tensor, "text embed"],
    drop: Callable[[Sequence[str]], Sequence[bool]],
    *,
    words: int = 25,
) -> Words:
    """The words of largest ⟨v, t − t̄⟩ themselves: the paper's third baseline."""
    return _best("similar words", prepare_atoms(texts) @ towards.to(texts), pool, drop, words, [])


def _words(
    method: Method, directions: Tensor, towards: Tensor, pool: Pool, texts: Tensor, drop: Callable, size: int | None,
    words: int, names: Sequence[str],
) -> Words:  # fmt: skip
    if not len(directions):
        raise SummandError("there is no neuron to take words from; ask for at least 1")
    size = min(size or (128 if len(pool.texts) > 1000 else 16), len(pool.texts))
    code = sparse_code(directions.to(texts), texts, size)
    along = towards.to(texts)[None]
    scores = words_of_directions(along, directions.to(texts), code.indices, code.coefficients, len(pool.texts), None)
    return _best(method, scores[0], pool, drop, words, names)


def _best(method: Method, scores: Tensor, pool: Pool, drop: Callable, words: int, names: Sequence[str]) -> Words:
    order = [int(i) for i in scores.argsort(descending=True, stable=True) if scores[i] > 0]
    texts = [pool.texts[i] for i in order]
    kept = [i for i, dropped in zip(order, drop(texts), strict=True) if not dropped][:words]
    if not kept:
        raise SummandError(f"no word of the pool {pool.name} is left for {method}; give a larger pool")
    return Words(method, tuple(pool.texts[i] for i in kept), tuple(float(scores[i]) for i in kept), tuple(names))
