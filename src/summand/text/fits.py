"""How well words fit images: a share beyond chance, the bound that other words set, and an AUC."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def kappa(share: Tensor, chance: Tensor) -> Tensor:
    """(share − chance) / (1 − chance): how much of what chance leaves is shown."""
    return torch.where(chance < 1, (share - chance) / (1 - chance).clamp(min=1e-12), 0.0)


def limit_of(others: Tensor, own: Sequence[int], among: Sequence[int] | None = None) -> float:
    """The 95th percentile over the other values, or over those of `among`."""
    kept = torch.ones(len(others), dtype=torch.bool)
    if among is not None:
        kept = torch.zeros_like(kept)
        kept[list(among)] = True
    kept[list(own)] = False
    return float(others[kept].quantile(0.95)) if kept.any() else 0.0


def agreement_of(signal: Tensor, positive: Tensor) -> float:
    """P(x⁺ > x⁻) + P(x⁺ = x⁻) / 2."""
    many = int(positive.sum())
    if many in (0, len(positive)):
        return float("nan")
    ordered = signal.sort().values
    below, to = (torch.searchsorted(ordered, signal, right=right) for right in (False, True))
    ranks = (below + to + 1).double() / 2
    return float((ranks[positive].sum() - many * (many + 1) / 2) / (many * (len(positive) - many)))


def told_apart(signal: Float[Tensor, "image end"], shown: Bool[Tensor, "image value"]) -> Float[Tensor, "end value"]:
    r"""2 AUC − 1 = 2 Σ_{i shows v} (ρ_i − ρ̄) / (n₊ n₋), ρ: ranks of the signal, equal ones' mean; 0 where all images
    show v, or none. `agreement_of` for many signals and values at once."""
    rows = signal.T.contiguous()
    ordered = rows.sort(dim=1).values
    below, to = (torch.searchsorted(ordered, rows, right=right) for right in (False, True))
    ranks = (below + to + 1 - len(signal) - 1).float() / 2
    member = shown.float()
    many = member.sum(dim=0).double()
    return 2 * (ranks @ member).double() / (many * (len(shown) - many)).clamp(min=1)
