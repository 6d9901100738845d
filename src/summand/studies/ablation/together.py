"""Several ablations at once: the changes that each of them makes, added up (paper C, Table 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...survey import Survey
from .accuracy import Batch, Direct, Family, Recalling, Version


class Together:
    r"""M(x) − Σ_k Σ_{u ∈ S_k} (φ_u(x) − φ̄_u): the terms of several families replaced by their means at the same time.

    The families must be of terms of one sum that do not overlap, such as the MLPs and the class token's own term. Where
    one has several versions (attention up to each layer), each of them is met with the others.
    """

    def __init__(self, families: Sequence[Family]) -> None:
        if len(families) < 2:
            raise SummandError(f"terms are ablated together from two families on, got {len(families)}")
        self._families = self._unknown = list(families)
        self.rounds = max(family.rounds for family in families)
        self.axis = next((family.axis for family in families if family.axis), "")
        self.direct = all(isinstance(family, Direct) and family.direct for family in families)

    def learn(self, turn: int, batch: Batch) -> None:
        for family in self._unknown:
            if turn < family.rounds:
                family.learn(turn, batch)

    def end(self, turn: int) -> None:
        for family in self._unknown:
            if turn < family.rounds:
                family.end(turn)

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """What the survey knows of each; those that it does not know learn on."""
        self._unknown = [
            family for family in self._families if not (isinstance(family, Recalling) and family.recall(survey, device))
        ]
        return not self._unknown

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Float[Tensor, "image embed"]]]:
        for made in product(*(list(family.versions(batch)) for family in self._families)):
            change = sum(outputs - batch.total for _, outputs in made)
            yield _joined([version for version, _ in made]), batch.total + change


def _joined(versions: Sequence[Version]) -> Version:
    """What was done, in words; a point of the line that one of them is a point of."""
    line = next((version for version in versions if version.series is not None), versions[0])
    series = None if line.series is None else _and([version.series or version.name for version in versions])
    return Version(line.family, _and([version.name for version in versions]), series, line.x)


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]
