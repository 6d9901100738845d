"""A text classifier that does for the plain model what an ablation does to its images, as well as a linear map can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...atomic import replacing
from ...statistics.moments import Mean
from ...towers.precision import doubled
from .accuracy import Batch, Direct, Family, Version

_RIDGE = 1e-4


@dataclass(frozen=True)
class PatchedClassifier:
    r"""t'_c = (I − A)ᵀ t_c and b_c = ⟨A M̄, t_c⟩: the text classifier that comes closest to the ablated model.

    A M(x) is the best linear estimate of what the removed units add, fitted on unlabelled images, so the plain
    model's own embeddings can be classified: ⟨M(x), t'_c⟩ + b_c. weights: [class, embed]; bias: [class].
    """

    names: tuple[str, ...]
    weights: Float[Tensor, "class embed"]
    bias: Float[Tensor, " class"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """One .npz file with arrays `weights`, `bias` and `names`, without pickle."""
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file,
                weights=self.weights.float().cpu().numpy(),
                bias=self.bias.float().cpu().numpy(),
                names=np.array(self.names),
            )


class Patch:
    """The linear estimate A of what the first set of `family` removes: A = Cov(removed, M) (Cov(M) + λ I)⁻¹.

    λ is 10⁻⁴ of the mean variance. It learns in a second round, once the means of the first are known.
    """

    rounds, axis = 2, ""

    def __init__(self, family: Family) -> None:
        self._family, self.direct = family, isinstance(family, Direct) and family.direct
        self._outputs, self._second, self._cross = Mean(), Mean(), Mean()
        self._map: Tensor | None = None

    def learn(self, turn: int, batch: Batch) -> None:
        if turn == 0:
            return
        outputs = doubled(batch.total)
        _, kept = next(iter(self._family.versions(batch)))
        removed = outputs - doubled(kept)
        self._outputs.update(outputs)
        self._second.add(outputs.T @ outputs, len(outputs))
        self._cross.add(removed.T @ outputs, len(outputs))

    def end(self, turn: int) -> None:
        if turn == 0:
            return
        mean = self._outputs.value
        covariance = self._second.value - torch.outer(mean, mean)  # removed effects are centred: their mean is zero
        ridge = _RIDGE * covariance.diagonal().mean() * torch.eye(len(mean)).to(covariance)
        self._map = torch.linalg.solve(covariance + ridge, self._cross.value.T).T

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        assert self._map is not None
        outputs = doubled(batch.total)
        yield Version("groups", "patched classifier"), outputs - (outputs - self._outputs.value) @ self._map.T

    def classifier(self, names: tuple[str, ...], weights: Float[Tensor, "class embed"]) -> PatchedClassifier:
        assert self._map is not None
        texts = weights.to(self._map)
        return PatchedClassifier(names, texts - texts @ self._map, texts @ (self._map @ self._outputs.value))
