"""Two-sample tests: one for each unit, one for the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

from ...errors import SummandError
from ...towers.border import foreign

FEWEST = 8
_MOST_FOR_EXACT = 10_000


def kolmogorov_smirnov(
    reference: Float[np.ndarray, "image column"], current: Float[np.ndarray, "image2 column"]
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    r"""D = sup_x |F_ref(x) − F_cur(x)| of every column, and its p-value: exact where the numbers of images
    multiply to at most 10,000, else from the limiting distribution, which is too small for few images.

    Raises `SummandError` for NaN and for fewer than 8 images on either side, where no test says anything.
    """
    check_samples(reference, current)
    n, m = len(reference), len(current)
    both = np.concatenate([reference, current])
    order = both.argsort(axis=0, kind="stable")
    steps = np.where(order < n, 1 / n, -1 / m).cumsum(axis=0)
    ordered = np.take_along_axis(both, order, axis=0)
    steps[:-1][ordered[1:] == ordered[:-1]] = 0  # within ties the two distributions have not been compared yet
    distance = np.abs(steps).max(axis=0)
    if n * m <= _MOST_FOR_EXACT:
        _, first, place = np.unique((distance * n * m).round(), return_index=True, return_inverse=True)
        exact = [foreign(stats.ks_2samp(reference[:, i], current[:, i], method="exact")).pvalue for i in first]
        return distance, np.array(exact)[place]
    return distance, stats.kstwo.sf(distance, max(1, round(n * m / (n + m))))


def standardised_difference(
    reference: Float[np.ndarray, "image column"], current: Float[np.ndarray, "image2 column"]
) -> Float[np.ndarray, " column"]:
    """Glass's Δ = (mean_cur − mean_ref) / std_ref: by how many of its usual deviations a column moved."""
    return (current.mean(axis=0) - reference.mean(axis=0)) / np.maximum(reference.std(axis=0), 1e-12)


def mmd(
    reference: Float[np.ndarray, "image embed"],
    current: Float[np.ndarray, "image2 embed"],
    permutations: int = 999,
    seed: int = 0,
    level: float | None = None,
) -> tuple[float, float]:
    r"""MMD² = wᵀ K w with w = (1/n, …, −1/m, …), and the share of permutations of w that give as much or more.

    K: the Gaussian kernel whose width is the median distance of the pooled images. The p-value is at least
    1 / (permutations + 1). level: where so few permutations cannot give a p-value as small as this, more are drawn, up
    to 1 / level, but none once it can no longer be reached.

    Source: Gretton et al., A Kernel Two-Sample Test, JMLR 2012.
    """
    check_samples(reference, current)
    n, m = len(reference), len(current)
    both = np.concatenate([reference, current]).astype(np.float32)
    squares = (both**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * both @ both.T, 0)
    median = float(np.median(distances[np.triu_indices(n + m, 1)])) or 1.0
    kernel = np.exp(-distances / median)
    rng = np.random.default_rng(seed)
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)]).astype(np.float32)
    value = float(weights @ kernel @ weights)
    most = permutations if level is None else max(permutations, math.ceil(1 / level))
    beaten = done = 0
    while done < permutations or (level is not None and done < most and (1 + beaten) / (1 + most) <= level):
        some = min(250, (permutations if done < permutations else most) - done)
        drawn = np.stack([rng.permutation(weights) for _ in range(some)], axis=1)
        beaten += int(((drawn * (kernel @ drawn)).sum(axis=0) >= value).sum())
        done += some
    return value, (1 + beaten) / (1 + done)


def permuted(
    reference: Sequence[Float[np.ndarray, "image _"]],
    current: Sequence[Float[np.ndarray, "image2 _"]],
    permutations: int = 999,
    seed: int = 0,
    level: float | None = None,
    counts: Sequence[float] | None = None,
) -> tuple[float, list[Float[np.ndarray, " _"]]]:
    r"""The p-value of Σ_f c_f z_f over permutations of the images, z_f = (max_j |t_fj| − μ_f) / s_f of family f of
    columns j, t_fj = (mean_cur − mean_ref) / std of both sets; and for every column a p-value of its own.

    μ_f, s_f: mean and deviation of max_j |t_fj| under the permutations, so that a family of many columns counts as much
    as one of few. counts: c_f, 1 each by default. A column's p-value is that of (|t_fj| − μ_f) / s_f among the largest
    of all columns (Westfall & Young, 1993: single-step max-T): corrected for all of them, whatever their correlations.
    level: as of `mmd`.
    """
    check_samples(np.concatenate(list(reference), axis=1), np.concatenate(list(current), axis=1))
    n, m = len(reference[0]), len(current[0])
    scaled = [_scaled(np.concatenate(both)) for both in zip(reference, current, strict=True)]
    weights = np.concatenate([np.full(n, -1 / n), np.full(m, 1 / m)])
    found = [np.abs(weights @ columns) for columns in scaled]
    rng, most = np.random.default_rng(seed), permutations if level is None else max(permutations, math.ceil(1 / level))
    maxima, shares = np.zeros((0, len(scaled))), np.ones(len(scaled)) if counts is None else np.array(counts)
    while True:
        part = min(250, most - len(maxima))
        drawn = np.stack([rng.permutation(weights) for _ in range(part)])
        new = np.stack([np.abs(drawn @ columns).max(axis=1) for columns in scaled], axis=1)
        maxima = np.concatenate([maxima, new])
        every = np.concatenate([maxima, [[each.max() for each in found]]])  # the images' own order is one of them
        middle, spread = every.mean(axis=0), np.maximum(every.std(axis=0), 1e-12)
        chance = (maxima - middle) / spread
        of_columns = [(each - middle[f]) / spread[f] for f, each in enumerate(found)]
        together = float(shares @ [each.max() for each in of_columns])
        beaten = int((chance @ shares >= together - 1e-9).sum())
        enough = len(maxima) >= permutations and (level is None or (1 + beaten) / (1 + most) > level)
        if enough or len(maxima) >= most:
            break
    joint = np.sort(chance.max(axis=1))
    p = [(1 + len(joint) - np.searchsorted(joint, each)) / (1 + len(joint)) for each in of_columns]
    return (1 + beaten) / (1 + len(maxima)), p


def _scaled(columns: Float[np.ndarray, "image column"]) -> Float[np.ndarray, "image column"]:
    centred = columns - columns.mean(axis=0)
    deviation = centred.std(axis=0)
    return centred / np.where(deviation > 1e-12, deviation, np.inf)  # what never varies says nothing


def point_biserial(scores: Float[np.ndarray, " image"], truth: np.ndarray) -> float:
    """The correlation of a score with a yes-or-no truth (paper B); 0 where either never varies."""
    truth = np.asarray(truth, dtype=np.float64)
    if scores.std() == 0 or truth.std() == 0:
        return 0.0
    return float(np.corrcoef(scores, truth)[0, 1])


def check_samples(reference: np.ndarray, current: np.ndarray) -> None:
    for name, sample in (("reference", reference), ("current", current)):
        if len(sample) < FEWEST:
            raise SummandError(f"the {name} set has {len(sample)} image(s); a test of shift needs at least {FEWEST}")
        if not np.isfinite(sample).all():
            raise SummandError(f"the {name} set holds NaN or infinite numbers; check its images, or make it again")
    if reference.shape[1:] != current.shape[1:]:
        raise SummandError(
            f"reference and current must have the same columns, got {list(reference.shape[1:])} and "
            f"{list(current.shape[1:])}"
        )
