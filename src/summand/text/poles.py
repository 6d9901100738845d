r"""Words for the two ends of a direction, proven or not.

Three disjoint sets of images: the unit's statistics are of the first, words are chosen on the second, and what they are
worth is measured on the third. An end is the k images of largest (or smallest) coefficient x. Its words are the values
that these images show, as the model itself reads them (`Values.shown`):

    shown = share of the end's k images that show one of the words;  chance = the same share of all images;
    word = argmax_v (shown_v − chance_v) / (1 − chance_v) · (2 AUC_v − 1).

The k images at the end are few, and several values may be shown by all of them ("a large object", where there is one):
which of these x is about is asked of all images, by AUC_v, of telling those that show v from the others by x.

An end is proven where, on the third set, shown ≥ 0.85, and is better than both nulls:

- shuffled images: P(shown or more | k images at random) (hypergeometric) ≤ 0.05 / number of ends of the unit that were
  given words. That the words were chosen as the best of many costs nothing here: they were chosen on other images.
- other words: (shown − chance) / (1 − chance) is above the 95th percentile of the same for all other values of the
  pool, and for the words of all other units.

Words that do not cover an end alone may do so together: an end of two or three things (clusters of its images) is said
to have them all, provided that it tells them from everything else on all images (AUC ≥ 0.75). An end that no three
words cover has none; words that fall short of 0.85 by no more than a standard error of k images are left to the third
set, which decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import hypergeom
from torch import Tensor

from ..errors import SummandError
from .fits import agreement_of, kappa, limit_of, told_apart

Verdict = Literal["proven", "not proven", "cannot be tested"]

COVERED = 0.85
"""The share of an end's images that must show its words."""
ERROR = 0.05
"""Units of no meaning that are proven at most, of all."""

_SHARE, _FEWEST, _MOST = 0.04, 6, 20  # images of an end
_ADDS, _LIFT = 0.2, 2.0  # the share of images that a further word must add, and by how much it must exceed chance
_TOLD_APART = 0.75  # several words cover much by chance: they must also be told from the rest on all images
_ONE_SIDED = 1 / 3  # of the other end's extent
_BLOCK = 2**24


def images_of_an_end(count: int) -> int:
    """k: 4 % of the images, at least 6 and at most 20.

    >>> [images_of_an_end(count) for count in (40, 300, 500, 2000)]
    [6, 12, 20, 20]
    """
    return min(_MOST, max(_FEWEST, round(_SHARE * count)))


@dataclass(frozen=True)
class Pole:
    """One end of one direction. sign: +1 for the images of largest x, −1 for those of smallest.

    words: places among the values, the one that most images show first; empty where no words cover the end. each: the
    share of its images that show each word. silent: the end has no extent of its own. limit: what (shown − chance) /
    (1 − chance) had to exceed. agreement: the probability that an image that shows the words lies further towards
    this end than one that does not (AUC), over all images of the third set.
    """

    sign: int
    words: tuple[int, ...]
    each: tuple[float, ...]
    silent: bool
    shown: float
    chance: float
    limit: float
    p: float
    agreement: float
    verdict: Verdict

    @property
    def proven(self) -> bool:
        return self.verdict == "proven"


@dataclass(frozen=True)
class Signals:
    """x of every direction on the images of the second and of the third set, and which values these images show."""

    choice: Float[Tensor, "image direction"]
    final: Float[Tensor, "image2 direction"]
    shown_choice: Bool[Tensor, "image value"]
    shown_final: Bool[Tensor, "image2 value"]


@torch.no_grad()
def poles(signals: Signals, units: Sequence[int], size: int = 3, most: int = 3) -> list[tuple[Pole, Pole]]:
    """The two ends of every direction, + first. units: the unit that each direction is of. size: words an end at most.
    most: of each unit only the first so many directions that were given words keep them.

    Raises `SummandError` for sets of images that do not fit together.
    """
    _check(signals, units, size)
    directions = signals.choice.shape[1]
    chosen = _choose(signals.choice, signals.shown_choice, size)
    for row in _beyond(chosen, units, most):
        chosen[row] = chosen[row + directions] = ()
    named = np.array([bool(words) for words in chosen])
    owner = np.tile(np.asarray(units, dtype=np.int64), 2)
    tests = np.bincount(owner[named], minlength=int(owner.max(initial=0)) + 1)[owner]
    silent = _silent(signals.choice)
    scored = _score(signals, chosen, np.maximum(tests, 1))
    found = [
        Pole(1 if end < directions else -1, words, silent=bool(silent[end]), **score)
        for end, (words, score) in enumerate(zip(chosen, scored, strict=True))
    ]
    return [(found[row], found[row + directions]) for row in range(directions)]


def _beyond(chosen: Sequence[tuple[int, ...]], units: Sequence[int], most: int) -> list[int]:
    """Directions of which the unit has enough without them."""
    have: Counter[int] = Counter()
    found = []
    for row, unit in enumerate(units):
        if chosen[row] or chosen[row + len(units)]:
            have[unit] += 1
            if have[unit] > most:
                found.append(row)
    return found


def _ends(signal: Tensor) -> Int[Tensor, "end k"]:
    """The images of every + end, then of every − end."""
    k = min(images_of_an_end(len(signal)), len(signal))
    return torch.cat([(sign * signal).topk(k, dim=0).indices.T for sign in (1, -1)])


def _silent(signal: Tensor) -> np.ndarray:
    """Ends whose images lie hardly further from the median than most images do: the unit speaks at its other end."""
    k = min(images_of_an_end(len(signal)), len(signal))
    middle = signal.median(dim=0).values
    above = signal.topk(k, dim=0).values.mean(dim=0) - middle
    below = middle - (-signal).topk(k, dim=0).values.neg().mean(dim=0)
    return torch.cat([above < _ONE_SIDED * below, below < _ONE_SIDED * above]).numpy()


def _choose(signal: Tensor, shown: Tensor, size: int) -> list[tuple[int, ...]]:
    """Words of every end, on the images of the second set."""
    chance = shown.double().mean(dim=0)
    ends, signed = _ends(signal), torch.cat([signal, -signal], dim=1)
    quiet = np.tile((signal.amax(dim=0) == signal.amin(dim=0)).numpy(), 2) | _silent(signal)
    found: list[tuple[int, ...]] = []
    step = max(1, _BLOCK // (ends.shape[1] * shown.shape[1]))
    for some, along in zip(ends.split(step), signed.split(step, dim=1), strict=True):
        hits = shown[some]  # [end, k, value]
        share = hits.sum(dim=1).double() / hits.shape[1]
        apart = told_apart(along, shown).clamp(min=0)
        first = (kappa(share, chance) * apart).sub(1e-9 * chance).argmax(dim=1)
        for row, value in enumerate(first.tolist()):
            place = len(found)
            found.append(() if quiet[place] else _cover(hits[row], value, shown, chance, apart[row], size))
    return found


def _cover(hits: Tensor, value: int, shown: Tensor, chance: Tensor, apart: Tensor, size: int) -> tuple[int, ...]:
    """Add words until they cover the end together, as long as each is one of several clusters of its images."""
    words = [value]
    covered, anywhere = hits[:, value], shown[:, value]
    while float(covered.double().mean()) < COVERED and len(words) < size:
        share = (hits | covered[:, None]).double().mean(dim=0)
        base = (shown | anywhere[:, None]).double().mean(dim=0)
        own = (hits & ~covered[:, None]).double().mean(dim=0)
        cluster = (own >= _LIFT * chance) & (own >= max(_ADDS, 2 / len(hits)))
        if not cluster.any():
            break
        best = int(torch.where(cluster, kappa(share, base) * apart, -1).argmax())
        words.append(best)
        covered, anywhere = covered | hits[:, best], anywhere | shown[:, best]
    enough = COVERED - (COVERED * (1 - COVERED) / len(hits)) ** 0.5  # within a standard error the third set decides
    if float(covered.double().mean()) < enough:
        return ()
    return tuple(sorted(words, key=lambda word: -float(hits[:, word].double().mean())))


def _score(signals: Signals, chosen: Sequence[tuple[int, ...]], tests: np.ndarray) -> list[dict[str, Any]]:
    """What the words of every end are worth, on the images of the third set."""
    shown, signal = signals.shown_final, signals.final
    k = min(images_of_an_end(len(shown)), len(shown))
    rate = shown.double().mean(dim=0)
    labels = sorted({words[0] for words in chosen if words})
    measured = []
    for end, images in enumerate(_ends(signal)):
        words = list(chosen[end])
        hits = shown[images]
        here, anywhere = hits[:, words].any(dim=1), shown[:, words].any(dim=1)
        all_of_them = kappa(hits.double().mean(dim=0), rate)
        limit = max(limit_of(all_of_them, words), limit_of(all_of_them, words, labels)) if words else np.nan
        sign = 1 if end < signal.shape[1] else -1
        column = sign * signal[:, end % signal.shape[1]].double()
        agreement = agreement_of(column, anywhere)
        each = hits[:, words].double().mean(dim=0)
        lifted = bool((each > rate[words]).all())
        varies = float(column.std()) > 0
        measured.append((tuple(each.tolist()), lifted, int(here.sum()), int(anywhere.sum()), limit, agreement, varies))
    if not measured:
        return []
    each, lifted, here, anywhere, limit, agreement, varies = (list(column) for column in zip(*measured, strict=True))
    count, hits, positives = len(shown), np.array(here), np.array(anywhere)
    p, least = (hypergeom.sf(most - 1, count, positives, k) for most in (hits, np.minimum(k, positives)))
    share, chance = hits / k, positives / count
    own = np.where(chance < 1, (share - chance) / np.maximum(1 - chance, 1e-12), 0)
    allowed = ERROR / tests
    hopeless = (least > allowed) | (positives < COVERED * k) | (count < 2 * k)
    several = np.array([len(words) > 1 for words in chosen])
    proven = (share >= COVERED) & (p <= allowed) & (own > np.array(limit))
    proven &= ~several | (np.array(agreement) >= _TOLD_APART) & np.array(lifted)
    found = []
    for end, words in enumerate(chosen):
        score = {"each": each[end], "shown": share[end], "chance": chance[end], "limit": limit[end], "p": p[end]}
        score = {name: value if name == "each" else float(value) if words else np.nan for name, value in score.items()}
        verdict: Verdict = "proven" if words and proven[end] else "not proven"
        if not varies[end] or (words and hopeless[end]):
            verdict = "cannot be tested"
        found.append({**score, "agreement": agreement[end] if words else np.nan, "verdict": verdict})
    return found


def _check(signals: Signals, units: Sequence[int], size: int) -> None:
    directions = {signals.choice.shape[1], signals.final.shape[1], len(units)}
    lengths = (len(signals.choice), len(signals.final)) == (len(signals.shown_choice), len(signals.shown_final))
    if len(directions) != 1 or not lengths or signals.shown_choice.shape[1] != signals.shown_final.shape[1]:
        raise SummandError(
            f"signals [image, direction] and what images show [image, value] do not fit together: "
            f"{[list(t.shape) for t in (signals.choice, signals.final, signals.shown_choice, signals.shown_final)]} "
            f"for {len(units)} directions"
        )
    if size < 1:
        raise SummandError(f"an end has at least 1 word, got size={size}")
