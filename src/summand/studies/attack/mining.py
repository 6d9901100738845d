"""The words that pull an image of one class towards another, through the neurons between them (paper A, §5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...models import Model
from ...survey import Survey
from ...survey.profile import Profile, profile_of
from ...text.contributions import words_of_directions
from ...text.pools import Pool
from ...text.sparse import prepare_atoms, sparse_code

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
    """A class as the classifier sees it: its bare name (as the papers' code), or where the model's world has texts for
    it the mean of these."""
    attribute = model.world.main_attribute
    if attribute is not None:
        texts = model.world.prompts_of(attribute)
        if name not in texts:
            kinds = f"{attribute}s ({', '.join(texts)})"
            raise SummandError(f"classes of the {model.world.name} models are {kinds}, got {name!r}")
        return F.normalize(model.encode_text(texts[name]).mean(dim=0), dim=0)
    return model.encode_text(name)[0]


def second_order_words(
    survey: Survey | Profile,
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
    profile = profile_of(survey)
    directions, names = profile.directions.float(), [unit.name for unit in profile.units]
    chosen = _nearest(directions, towards, neurons)
    return _words("second-order", directions, names, chosen, towards, pool, texts, drop, size, words)


def random_words(
    survey: Survey | Profile,
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
    profile = profile_of(survey)
    directions, names = profile.directions.float(), [unit.name for unit in profile.units]
    drawn = np.random.default_rng(seed).permutation(len(directions))[:neurons].tolist()
    return _words("random neurons", directions, names, drawn, towards, pool, texts, drop, size, words)


def indirect_words(
    directions: Float[Tensor, "unit embed"],
    names: Sequence[str],
    towards: Float[Tensor, " embed"],
    pool: Pool,
    texts: Float[Tensor, "text embed"],
    drop: Callable[[Sequence[str]], Sequence[bool]],
    *,
    neurons: int = 100,
    size: int | None = None,
    words: int = 25,
) -> Words:
    """Eq. 6 with the principal directions of indirect effects (`indirect_directions`) in place of second-order ones, of
    the `neurons` of largest |⟨v, r⟩| among them: the paper's second baseline."""
    directions = directions.float()
    chosen = _nearest(directions, towards, neurons)
    return _words("indirect effects", directions, names, chosen, towards, pool, texts, drop, size, words)


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


def _nearest(directions: Tensor, towards: Tensor, count: int) -> list[int]:
    along = (directions @ towards.to(directions)).abs()
    return along.argsort(descending=True, stable=True)[:count].tolist()


def _words(
    method: Method, directions: Tensor, names: Sequence[str], chosen: list[int], towards: Tensor, pool: Pool,
    texts: Tensor, drop: Callable, size: int | None, words: int,
) -> Words:  # fmt: skip
    if not chosen:
        raise SummandError("there is no neuron to take words from; ask for at least 1")
    some = directions[chosen].to(texts)
    size = min(size or (128 if len(pool.texts) > 1000 else 16), len(pool.texts))
    code = sparse_code(some, texts, size)
    along = towards.to(texts)[None]
    scores = words_of_directions(along, some, code.indices, code.coefficients, len(pool.texts), None)
    return _best(method, scores[0], pool, drop, words, [names[n] for n in chosen])


def _best(method: Method, scores: Tensor, pool: Pool, drop: Callable, words: int, names: Sequence[str]) -> Words:
    order = [int(i) for i in scores.argsort(descending=True, stable=True) if scores[i] > 0]
    texts = [pool.texts[i] for i in order]
    kept = [i for i, dropped in zip(order, drop(texts), strict=True) if not dropped][:words]
    if not kept:
        raise SummandError(f"no word of the pool {pool.name} is left for {method}; give a larger pool")
    return Words(method, tuple(pool.texts[i] for i in kept), tuple(float(scores[i]) for i in kept), tuple(names))
