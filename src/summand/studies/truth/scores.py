"""Explanations scored against known truth: what a head carries, by its scenes, against what its label says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.effects import Effects
from ...models import Model
from ...scenes import ATTRIBUTES, counterfactuals
from ...text.labels import named_attribute
from ...towers.precision import doubled


def metric_coordinates(effects: Effects) -> Float[Tensor, "image *unit path"]:
    """Coefficients in an orthonormal basis of each unit's span, where distances are those of the embedding space."""
    mixing = torch.linalg.qr(doubled(effects.basis._whole()).transpose(-1, -2)).R  # directionsᵀ = Q R
    return torch.einsum("...dp,i...p->i...d", mixing, doubled(effects.coefficients))


def anova_shares(effects: Effects, attributes: pd.DataFrame) -> pd.DataFrame:
    r"""share[unit, attribute] = Σ_v n_v ‖μ_v − μ‖² / Σ_i ‖x_i − μ‖²: how much of a unit's variance it explains.

    attributes: one row an image, one column an attribute. Returns one row a unit (in order), one column an attribute;
    shares of independent attributes add up to at most one; interactions are the rest.
    """
    points = metric_coordinates(effects).flatten(1, -2)  # [image, unit, path]
    centred = points - points.mean(dim=0)
    total = centred.square().sum(dim=(0, 2))
    table = {}
    for attribute in attributes.columns:
        codes, values = pd.factorize(attributes[attribute])
        member = torch.from_numpy(np.eye(len(values))[codes]).to(centred)  # [image, value]
        means = torch.einsum("iv,iup->vup", member, centred) / member.sum(dim=0)[:, None, None]
        between = (means.square().sum(dim=-1) * member.sum(dim=0)[:, None]).sum(dim=0)
        table[attribute] = (between / total).cpu().numpy()
    return pd.DataFrame(table)


def counterfactual_movement(
    model: Model, count: int, seed: int, layers: slice | list[int] = slice(None)
) -> pd.DataFrame:
    """Mean squared movement of every head when one attribute changes and all else stays: one row a head of the given
    layers (in order), one column an attribute."""
    table = {}
    for attribute in ATTRIBUTES:
        moved = 0.0
        before, after = counterfactuals(count, attribute, seed)
        for start in range(0, count, 250):
            rows = slice(start, start + 250)
            first, second = (
                model.decompose(model.preprocess(scenes.images[rows]).to(model.device)).head_effects().select(layers)
                for scenes in (before, after)
            )
            change = Effects(second.coefficients - first.coefficients, first.basis, first.units, first.paths)
            moved = moved + doubled(change.norms()).square().sum(dim=0).flatten().cpu().numpy()
        table[attribute] = moved / count
    return pd.DataFrame(table)


@dataclass(frozen=True)
class Agreement:
    """How often labels name the truth, over heads with a dominant attribute."""

    heads: int
    dominant: int
    agree: int

    @property
    def dominant_share(self) -> float:
        return self.dominant / self.heads

    @property
    def agreement(self) -> float:
        return self.agree / self.dominant if self.dominant else float("nan")


def agreement(shares: pd.DataFrame, named: Sequence[str | None], dominant: float = 0.5) -> Agreement:
    """Of the heads whose largest ANOVA share is at least `dominant`, how many are labelled with that attribute."""
    largest, strong = shares.idxmax(axis=1), shares.max(axis=1) >= dominant
    right = [name == truth for name, truth in zip(named, largest, strict=True)]
    return Agreement(len(shares), int(strong.sum()), int((strong & pd.Series(right, index=shares.index)).sum()))


def by_chance(
    shares: pd.DataFrame, texts: Sequence[str], dominant: float = 0.5, seed: int = 0, draws: int = 200
) -> float:
    """Mean agreement when every head is labelled with random texts of the pool."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        named = [
            named_attribute(rng.choice(texts, 3, replace=False).tolist(), (0.4, 0.7, 0.9)) for _ in range(len(shares))
        ]
        found.append(agreement(shares, named, dominant).agreement)
    return float(np.mean(found))


def lifts(moved: pd.DataFrame, named: Sequence[str | None]) -> dict[str, float]:
    """How much farther a change of an attribute moves the heads labelled with it than the others, on average."""
    found = {}
    for attribute in moved.columns:
        here = np.array([name == attribute for name in named])
        if here.any() and not here.all():
            movement = moved[attribute].to_numpy()
            found[attribute] = float(movement[here].mean() / movement[~here].mean())
    return found
