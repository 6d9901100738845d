"""How far a spurious attribute moves the classes' scores, from unlabelled images: no class, no group is known."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_FEWEST = 1.5  # images of a value, counted by their weights, whose variance can be told
_MOST_WEIGHT = 20.0  # of one image, where a combination of class and value is rare


def values_of(outputs: Float[Tensor, "image embed"], attribute: Float[Tensor, "value embed"]) -> Int[Tensor, " image"]:
    """a(x) = argmax_v ⟨M(x) − M̄, t_v − t̄⟩: the value of the attribute, as the model itself reads it."""
    texts = (attribute - attribute.mean(dim=0)).to(outputs)
    return ((outputs - outputs.mean(dim=0)) @ texts.T).argmax(dim=1)


def independent(classes: Int[Tensor, " image"], values: Int[Tensor, " image"]) -> Float[Tensor, " image"]:
    """w(x) = p(c) p(v) / p(c, v), at most 20: weights under which the class says nothing of the value."""
    counts = torch.zeros(int(classes.max()) + 1, int(values.max()) + 1, dtype=torch.float64)
    counts.index_put_((classes, values), torch.ones(len(classes), dtype=torch.float64), accumulate=True)
    expected = counts.sum(dim=1, keepdim=True) * counts.sum(dim=0) / counts.sum()
    return (expected / counts.clamp(min=1)).clamp(max=_MOST_WEIGHT)[classes, values]


def within(
    scores: Float[Tensor, "image score"], classes: Int[Tensor, " image"], weights: Float[Tensor, " image"]
) -> Float[Tensor, "image score"]:
    """Scores minus the weighted mean of their class."""
    total = torch.zeros(int(classes.max()) + 1, scores.shape[1] + 1).to(scores)
    total.index_add_(0, classes, torch.cat([weights[:, None] * scores, weights[:, None]], dim=1))
    means = total[:, :-1] / total[:, -1:].clamp(min=1e-12)
    return scores - means[classes]


def leak(
    scores: Float[Tensor, "image klass"],
    classes: Int[Tensor, " image"],
    values: Int[Tensor, " image"],
    weights: Float[Tensor, " image"],
) -> float:
    r"""Σ_v w_v (‖E_v[z − z̄_c]‖² − (1 − w_v/w) s_v²/n_v) / Σ w ‖z̄_c − z̄‖²: variance of the classes' scores z between the
    values of the attribute, the class held, over their variance between classes. w_v: weight of all images of a value.

    s_v²/n_v, of n_v = (Σ w)²/Σ w² images, is what the mean of so few has by chance (as in ω²): without it few images
    leak more than many, and what removes more looks worse than it is. About 0 where the attribute moves no score; a
    value of which there are not two images counts nothing.
    """
    scores = scores - scores.mean(dim=1, keepdim=True)
    left, total = within(scores, classes, weights), weights.sum()
    moved = 0.0
    for value in values.unique():
        own, some = weights[values == value], left[values == value]
        count = float(own.sum().square() / own.square().sum())
        if count < _FEWEST:
            continue
        mean = (own[:, None] * some).sum(dim=0) / own.sum()
        spread = float((own[:, None] * (some - mean).square()).sum())  # Σ w s² (n − 1)/n
        chance = (1 - float(own.sum() / total)) * spread / (count - 1)
        moved += float(own.sum() * mean.square().sum()) - chance
    mean = (weights[:, None] * scores).sum(dim=0) / total
    between = float((weights[:, None] * (scores - left - mean).square()).sum())
    return moved / max(between, 1e-30)


def strength(
    scores: Float[Tensor, "image klass"],
    removed: Float[Tensor, "image klass"],
    classes: Int[Tensor, " image"],
    weights: Float[Tensor, " image"],
) -> tuple[float, float]:
    r"""s = Σ w ⟨z − z̄_c, r − r̄_c⟩ / Σ w ‖r − r̄_c‖², and its standard error (of independent images).

    How far the classes' scores z move with what some terms add to them, r, the class held: 1 where these alone move
    them, above 1 where other terms follow, 0 where the others make up for it, so that nothing reaches the answer.
    """
    scores, removed = (each - each.mean(dim=1, keepdim=True) for each in (scores, removed))
    ours, theirs = within(scores, classes, weights), within(removed, classes, weights)
    size = float((weights[:, None] * theirs.square()).sum())
    if size < 1e-24:
        return 0.0, float("inf")
    found = float((weights[:, None] * ours * theirs).sum()) / size
    each = weights * ((ours - found * theirs) * theirs).sum(dim=1) / size
    return found, float(each.square().sum().sqrt())
