"""Axes of the representation along which some terms, or all of it, always stay at their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.ablated import ROUNDED, AblatedTower, Found, network_of
from ...errors import SummandError
from ...towers import Trace
from ...towers.base import Rest
from ...towers.directions import Directions, alike
from .. import Model
from .stored import Stored, about

Where = Literal["heads", "terms", "embedding"]


@dataclass(frozen=True)
class AxisRemoval(Stored):
    r"""M'(x) = M(x) − AᵀA Σ_{u ∈ S} (φ_u(x) − φ̄_u): terms lose what they write along some axes, and keep the rest.

    axes: A, orthonormal, [axis, embed]. where: which terms are S: "heads" (those of `heads`), "terms" (all heads and
    MLPs), or "embedding": M(x) itself, the plain projection. mean: Σ_{u ∈ S} φ̄_u along the axes, AᵀA Σ φ̄, [embed].
    Every term of the edited model is the old one or its part across the axes, and the mean is in the bias term, so they
    sum to M'(x) exactly. directions: of the last layer's channels, [head, channel, embed], by which the model is
    recognised. why: what the axes are, in words.
    """

    kind: ClassVar[str] = "axis removal"
    axes: Float[Tensor, "axis embed"]
    where: Where
    heads: tuple[tuple[int, int], ...]
    mean: Float[Tensor, " embed"]
    directions: Float[Tensor, "head channel embed"]
    model: str
    why: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: Model,
        axes: Float[Tensor, "axis embed"],
        mean: Float[Tensor, " embed"],
        where: Where = "embedding",
        heads: Sequence[tuple[int, int]] = (),
        why: Sequence[str] = (),
    ) -> AxisRemoval:
        """mean: of the sum of the terms over some images. Raises `SummandError` for axes that are not orthonormal, and
        where heads are named and the axes are not taken from heads (or the other way round)."""
        gram = axes.double() @ axes.double().T
        if not len(axes) or not torch.allclose(gram, torch.eye(len(axes)).to(gram), atol=1e-4):
            raise SummandError(f"axes to remove must be orthonormal rows, at least one; got {list(axes.shape)}")
        if (where == "heads") != bool(len(heads)):
            raise SummandError(f"heads go with where='heads', and only with it; got {len(heads)} heads, {where!r}")
        kept = network_of(model.tower).head_maps().kept
        wrong = [head for head in heads if head[0] not in range(kept.shape[0]) or head[1] not in range(kept.shape[1])]
        if wrong:
            raise SummandError(f"{model.name} has {kept.shape[0]} × {kept.shape[1]} heads, no {wrong[0]}")
        held = (mean.double() @ axes.double().T.to(mean.device)) @ axes.double().to(mean.device)
        own = kept[-1].detach().cpu()
        return cls(axes.to(own), where, tuple(heads), held.to(own), own, model.name, tuple(why))

    def kept(self) -> tuple[Tensor, dict[str, Any]]:
        heads = torch.tensor(self.heads, dtype=torch.long).reshape(-1, 2)
        return self.directions, {"axes": self.axes, "where": self.where, "heads": heads, "mean": self.mean}

    @classmethod
    def from_arrays(cls, basis: Directions, found: Mapping[str, np.ndarray]) -> AxisRemoval:
        heads = tuple((int(layer), int(head)) for layer, head in found["heads"])
        where: Any = str(found["where"])
        numbers = (torch.from_numpy(found[name]) for name in ("axes", "mean"))
        axes, mean = numbers
        return cls(axes, where, heads, mean, basis.dense(), *about(found))

    def apply(self, model: Model) -> Model:
        """The same model without these axes; the wrapped network itself is not changed.

        Raises `SummandError` where the file was made with another model.
        """
        return model.ablated(self, self._what)

    @property
    def _what(self) -> str:
        of = {"heads": f"of {len(self.heads)} heads", "terms": "of all heads and MLPs", "embedding": "of the embedding"}
        return f"{len(self.axes)} axes {of[self.where]}"

    def on(self, tower: Any, name: str) -> AblatedTower:
        """The tower without these axes. Raises `SummandError` where it is not the one that they were made with."""
        now = network_of(tower).head_maps().kept
        last = max((layer for layer, _ in self.heads), default=0)
        if last >= len(now) or not alike(now[-1].cpu(), self.directions.cpu(), relative=ROUNDED):
            raise SummandError(
                f"this repair was made with {self.model}, and its heads are not those of {name}; make a new one with "
                f"summand debias"
            )
        units, numbers = f"axes {self.where} {self.heads}", torch.cat([self.axes.flatten(), self.mean])
        return AblatedTower(tower, self._changed, self._what, units, numbers, turn=self._turn)

    def _across(self, vectors: Tensor) -> Tensor:
        axes = self.axes.to(vectors)
        return vectors - (vectors @ axes.T) @ axes

    def _turn(self, kept: Float[Tensor, "layer head channel embed"]) -> Float[Tensor, "layer head channel embed"]:
        if self.where != "heads":
            return self._across(kept)
        layers, numbers = [layer for layer, _ in self.heads], [head for _, head in self.heads]
        turned = kept.clone()
        turned[layers, numbers] = self._across(kept[layers, numbers])
        return turned

    def _changed(self, tower: Any, trace: Trace, found: Found) -> Trace:
        def rest() -> Rest:
            embedding, mlps, bias = trace.embedding, trace.mlps, trace.bias
            if self.where != "heads":
                mlps = self._across(mlps)
            if self.where == "embedding":
                embedding, bias = self._across(embedding), self._across(bias)
            return Rest(embedding, mlps, bias + self.mean.to(bias))

        return replace(trace, rest=rest)
