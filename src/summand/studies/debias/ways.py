"""The ways to take an attribute out of the sum: terms whole, or only what they write along the attribute's texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...models import Model
from ...models.ablations import Ablation, AxisRemoval
from ...models.ablations.axes import Where
from ...statistics.moments import Mean
from ...survey import Survey
from ...survey.means import mean_terms
from ...towers.precision import with_fp64
from ..ablation.accuracy import Batch, Version
from ..ablation.direct import Head
from .options import Way

FAMILY = "ways"


def in_short(way: Way, kind: str, strength: float) -> str:
    """What is done, for a table."""
    return {
        "units": f"{kind}s, whole",
        "measured": f"{kind}s, × {strength:.2f}",
        "units-axis": f"{kind}s, axis only",
        "terms-axis": "all terms, axis only",
        "text-axis": "embedding, axis only",
    }[way]


def along(vectors: Float[Tensor, "image embed"], axes: Float[Tensor, "axis embed"]) -> Float[Tensor, "image embed"]:
    """AᵀA v."""
    axes = axes.to(vectors)
    return (vectors @ axes.T) @ axes


class Ways:
    r"""M(x) − s Σ_S (φ − φ̄) ("units": s = 1; "measured": s = strength), M(x) − AᵀA Σ_S (φ − φ̄) ("units-axis"), the same
    over all heads and MLPs ("terms-axis"), and M(x) − AᵀA (M(x) − M̄) ("text-axis").

    heads: S. axes: A, an orthonormal basis of the differences of the attribute's texts.
    """

    rounds, axis, direct = 1, "", True

    def __init__(
        self,
        model: Model,
        heads: Sequence[Head],
        axes: Float[Tensor, "axis embed"],
        strength: float,
        ways: Sequence[Way],
    ) -> None:
        self._model, self._heads, self._axes, self._strength = model, list(heads), axes.cpu(), strength
        self.ways = tuple(ways)
        self._coefficients, self._sums = Mean(), Mean()

    def learn(self, turn: int, batch: Batch) -> None:
        if self._heads:
            self._coefficients.update(batch.parts.head_effects().coefficients)
        self._sums.update(torch.stack(self._terms(batch), dim=1))

    def end(self, turn: int) -> None:
        pass

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means of a survey's heads and of its terms."""
        known = mean_terms(survey)
        if known is None or (self._heads and not survey.holds("heads")):
            return False
        some, place = torch.zeros_like(known["heads"]), with_fp64(device)
        if self._heads:
            moments = survey.moments("heads")
            layers, numbers = [layer for layer, _ in self._heads], [head for _, head in self._heads]
            some = moments.mean_vectors()[layers, numbers].sum(dim=0).to(some)
            self._coefficients.update(moments.mean[None].to(place))
        terms = known["heads"] + known["mlps"].sum(dim=0)
        self._sums.update(torch.stack([some, terms, terms + known["embedding"] + known["bias"]])[None].to(place))
        return True

    def _terms(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Σ_S φ, Σ of all heads and MLPs, M(x)."""
        some = units(batch, self._heads) if self._heads else torch.zeros_like(batch.total)
        return some, batch.layers.sum(dim=1) + batch.parts.mlps().sum(dim=1), batch.total

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        moved = [term - mean.to(term) for term, mean in zip(self._terms(batch), self._sums.value, strict=True)]
        some, terms, whole = moved
        for way in self.ways:
            lost = {
                "units": lambda: some,
                "measured": lambda: self._strength * some,
                "units-axis": lambda: along(some, self._axes),
                "terms-axis": lambda: along(terms, self._axes),
                "text-axis": lambda: along(whole, self._axes),
            }[way]()
            yield Version(FAMILY, way), batch.total - lost

    def edit(self, way: Way, why: Sequence[str]) -> Ablation | AxisRemoval:
        """What does the same to the model at inference."""
        if way in ("units", "measured"):
            strength = self._strength if way == "measured" else 1.0
            return Ablation.of(self._model, self._heads, self._coefficients.value, why, strength)
        places: dict[Way, tuple[int, Where]] = {
            "units-axis": (0, "heads"),
            "terms-axis": (1, "terms"),
            "text-axis": (2, "embedding"),
        }
        place, where = places[way]
        heads = self._heads if where == "heads" else ()
        return AxisRemoval.of(self._model, self._axes, self._sums.value[place], where, heads, why)


class Only:
    """One version of a family, by its name."""

    direct = True

    def __init__(self, family: Ways, name: str) -> None:
        self._family, self._name, self.rounds, self.axis = family, name, 0, ""

    def learn(self, turn: int, batch: Batch) -> None:
        pass

    def end(self, turn: int) -> None:
        pass

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        yield next(found for found in self._family.versions(batch) if found[0].name == self._name)


def units(batch: Batch, heads: Sequence[Head]) -> Float[Tensor, "image embed"]:
    """Σ_S φ of heads."""
    effects = batch.parts.head_effects()
    layers, numbers = [layer for layer, _ in heads], [head for _, head in heads]
    chosen = effects.coefficients[:, layers, numbers]
    return torch.einsum("ikc,kce->ie", chosen, effects.basis._whole()[layers, numbers])
