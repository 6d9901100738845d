"""What the descriptions of a run are worth on images that they were not made from."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..text.evidence import held_out
from ..text.sparse import prepare_atoms
from .describe import Descriptions

DRAWS = 40
"""Random descriptions that each label is compared with."""

_UNITS_AT_ONCE = 4096
_TOP_SHARE = 0.02


@dataclass(frozen=True)
class Scores:
    """How well descriptions predict x_n on held-out images, [unit] each; NaN where x_n does not vary there.

    The predictor is ⟨M(x)/‖M(x)‖ − its mean, t̂⟩ with t̂ = Σ_j weights_j a_j. own: the same with r_n itself for t̂, the
    most that words can reach. random: mean over descriptions by as many random texts of the pool, each weighted to fit
    r_n as well as it can; limit: their 95th percentile.
    """

    correlation: Float[Tensor, " unit"]
    auc: Float[Tensor, " unit"]
    own: Float[Tensor, " unit"]
    random_correlation: Float[Tensor, " unit"]
    random_auc: Float[Tensor, " unit"]
    limit: Float[Tensor, " unit"]

    @cached_property
    def evidence(self) -> np.ndarray:
        """Whether a description predicts better than 95 % of the random ones, and in the right direction."""
        return ((self.correlation > self.limit) & (self.correlation > 0)).cpu().numpy()


def score(
    found: Descriptions,
    signal: Float[Tensor, "image unit"],
    outputs: Float[Tensor, "image embed"],
    texts: Float[Tensor, "text embed"],
    draws: int = DRAWS,
    seed: int = 0,
    progress: bool = False,
) -> Scores:
    """Descriptions against x_n on held-out images. signal: x_n; outputs: M/‖M‖ of the same images, centred.

    A random description is as many texts drawn from the pool without replacement, the same draw for all units, with
    least-squares weights of r_n on them: it is fitted just as the label is, but its texts are not chosen.
    """
    atoms = prepare_atoms(texts.double())
    size, outputs = found.indices.shape[1], outputs.double()
    bases = [_span(atoms[_draw(len(atoms), size, seed + i)]) for i in range(draws)]
    parts: list[list[Tensor]] = []
    bar = tqdm(
        total=len(found.targets), desc="evidence", unit="unit", file=sys.stderr, disable=not progress, leave=False
    )
    with bar:
        for start in range(0, len(found.targets), _UNITS_AT_ONCE):
            some = slice(start, start + _UNITS_AT_ONCE)
            truth, targets = signal[:, some].double(), found.targets[some]
            chosen = torch.where(found.indices[some] >= 0, found.indices[some], 0)
            weights = torch.where(found.indices[some] >= 0, found.weights[some], 0)
            direction = torch.einsum("ut,ute->ue", weights, atoms[chosen])
            label = held_out(truth, outputs @ direction.T, _TOP_SHARE)
            own = held_out(truth, outputs @ targets.T, _TOP_SHARE)
            random = [held_out(truth, (outputs @ basis) @ (basis.T @ targets.T), _TOP_SHARE) for basis in bases]
            correlations = torch.stack([one.correlation for one in random])
            aucs = torch.stack([one.auc for one in random])
            limits = correlations.quantile(0.95, dim=0)
            means = correlations.mean(dim=0), aucs.mean(dim=0)
            parts.append([label.correlation, label.auc, own.correlation, *means, limits])
            bar.update(len(targets))
    return Scores(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _draw(count: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 7]).choice(count, size=min(size, count), replace=False)


def _span(atoms: Float[Tensor, "text embed"]) -> Float[Tensor, "embed dimension"]:
    """An orthonormal basis of what some texts span: projection on it is the least-squares fit."""
    _, sizes, rows = torch.linalg.svd(atoms, full_matrices=False)
    return rows[sizes > 1e-9 * sizes[0]].T
