"""How few directions a unit's effect needs: reconstructed from principal components, or from sparse codes of texts
(paper B, for pairs and neurons of an attention pool; paper A, for second-order effects)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...effects.effects import Effects
from ...errors import SummandError, listed
from ...statistics.moments import Mean
from ...statistics.principal_direction import RankOne, rank_one
from ...statistics.top_images import TopImages
from ...survey import Group, Survey
from ...text.sparse import prepare_atoms, sparse_code
from ...towers.directions import Directions
from ...towers.precision import doubled
from .accuracy import Batch, Version
from .neurons import SIGNIFICANT_SHARE, first_texts
from .pairs import TOP_NORMS

Units = Literal["pairs", "neurons"]
NAMES = {"pairs": "neuron–head pairs", "neurons": "neurons"}


class Reconstruction:
    r"""φ_u(x) ≈ φ̄_u + Σ_{k ≤ K} ⟨φ_u(x) − φ̄_u, r_{u,k}⟩ r_{u,k} for every unit u at once, for several K.

    units: the neuron–head "pairs" of an attention pool, or its "neurons" (all heads together), paper B; a layer: the
    second-order effects of its neurons, paper A. r_{u,k}: the principal directions of the unit's largest centred
    effects, not centred again: of 50 images for an attention pool, of 2 % of `images` for a layer. A pair is of rank
    one by its algebra, so that one component loses nothing; a neuron has as many as there are (later) heads.
    """

    rounds, axis = 2, "principal components"

    def __init__(
        self, units: Units | int, components: Sequence[int] = (1,), images: int = 0, top: int = TOP_NORMS
    ) -> None:
        if not components or min(components) < 1:
            raise SummandError(f"reconstructions need numbers of components from 1 on, got {list(components)}")
        if isinstance(units, str) and units not in NAMES:
            raise SummandError(f"units to reconstruct are pairs, neurons or a layer's number, got {units!r}")
        self._units, self._components = units, sorted(set(components))
        self._size = top if isinstance(units, str) else max(1, math.ceil(SIGNIFICANT_SHARE * images))
        self.what = NAMES[units] if isinstance(units, str) else f"second-order effects of layer {units}"
        self._mean = Mean()
        self._top: TopImages | None = None
        self._ranks: RankOne | None = None

    def effects(self, batch: Batch) -> Effects:
        if not isinstance(self._units, str):
            return batch.second_order(self._units)
        return batch.pairs if self._units == "pairs" else batch.pairs.sum_over_last_unit()

    def learn(self, turn: int, batch: Batch) -> None:
        effects = self.effects(batch)
        if turn == 0:
            self._mean.update(effects.coefficients)
        else:
            assert self._top is not None
            self._top.update(effects, batch.indices)

    def end(self, turn: int) -> None:
        if turn == 0:
            self._top = TopImages(self._size, self._mean.value)
        else:
            self._ready()

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means and top images of a survey's pairs, or of a layer's neurons; it holds none of a pool's neurons."""
        group = Group("pairs") if isinstance(self._units, str) else Group("neurons", self._units)
        if self._units == "neurons" or not survey.holds(group) or survey.manifest.top == 0:
            return False
        self._mean.update(survey.moments(group).mean[None].to(device))
        self._top = survey.top_images(group).to(device)
        self._ready()
        return True

    def _ready(self) -> None:
        """Called when the top images are known."""
        assert self._top is not None
        there = min(self._top.basis.shape[-2], self._top.norms.shape[-1])
        self._ranks = rank_one(self._top, min(max(self._components), there))

    @property
    def ranks(self) -> RankOne:
        """The principal directions of every unit, once the passes are over."""
        assert self._ranks is not None
        return self._ranks

    def centred(self, batch: Batch) -> tuple[Directions, Float[Tensor, "image *unit path"]]:
        effects = self.effects(batch)
        return effects.basis, effects.coefficients - self._mean.value.to(effects.coefficients)

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        basis, centred = self.centred(batch)
        fixed = batch.total - basis.total(centred)
        amounts = torch.einsum("i...p,...pk->i...k", doubled(centred), self.ranks.reading())
        for size in sorted({min(size, basis.shape[-2]) for size in self._components}):  # no more than it has paths
            rebuilt = torch.einsum("i...k,...kp->i...p", amounts[..., :size], self.ranks.weights[..., :size, :])
            name = f"{self.what} by {size} principal component{'s' * (size > 1)}"
            yield Version("reconstruction", name, self.what, size), fixed + basis.total(rebuilt.to(centred))


class SparsePairs(Reconstruction):
    r"""φ̄_u + ⟨φ_u(x) − φ̄_u, r̂_u⟩ r̂_u, r̂_u of unit length along the best approximation of r_u by m texts (paper B).

    units: "pairs", whose r_u is the row n of W_VO^h itself, or "neurons", whose r_u is their first principal direction.
    pools: name → texts; sizes: several m, which one pursuit serves. parity="paper": the dictionary of the released code
    (each embedding dimension scaled over the pool, not each text). A matrix [unit, embed] is kept for every pool and m.
    """

    axis = "texts a unit"

    def __init__(
        self,
        units: Units,
        pools: Mapping[str, Float[Tensor, "text embed"]],
        sizes: Sequence[int],
        top: int = TOP_NORMS,
        parity: Literal["paper"] | None = None,
    ) -> None:
        super().__init__(units, (1,), top=top)
        if not pools or not sizes or min(sizes) < 1:
            raise SummandError(
                f"sparse codes need pools of texts and sizes of at least 1; got {listed(pools)}, {sizes}"
            )
        self._pools, self._sizes = dict(pools), sorted(sizes)
        self._parity: Literal["paper"] | None = parity
        self._codes: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def _ready(self) -> None:
        super()._ready()
        dense = self.ranks.basis.dense()  # [*unit, path, embed]
        paths = dense.flatten(0, -3)
        targets = self.directions()
        for name, texts in self._pools.items():
            size = min(max(self._sizes), len(texts), targets.shape[1])
            picks = sparse_code(targets, texts, size, parity=self._parity).indices
            atoms = prepare_atoms(texts.to(targets), parity=self._parity)
            for m in self._sizes:
                found = F.normalize(first_texts(targets, atoms, picks[:, :m]), dim=1).to(paths)
                read = torch.einsum("upe,ue->up", paths, found)
                self._codes[name, m] = (read.unflatten(0, dense.shape[:-2]), found)

    def directions(self) -> Float[Tensor, "unit embed"]:
        """r_u of every unit; a pair's, up to its sign, comes from the weights."""
        if self._units == "pairs":
            return F.normalize(self.ranks.basis.dense().flatten(0, -2), dim=1)
        return self.ranks.directions

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        basis, centred = self.centred(batch)
        fixed = batch.total - basis.total(centred)
        amount = torch.einsum("i...p,...p->i...", doubled(centred), self.ranks.reading()[..., 0])
        whole = torch.einsum("i...,...p->i...p", amount, self.ranks.weights[..., 0, :])
        name = f"{self.what} by 1 principal component"
        yield Version("sparse codes", name, name, None), fixed + basis.total(whole.to(centred))
        for (pool, size), (read, found) in self._codes.items():
            along = torch.einsum("i...p,...p->i...", centred, read).flatten(1)
            name = f"{self.what} by {size} texts each, {pool}"
            yield Version("sparse codes", name, f"{self.what}, {pool}", size), fixed + along @ found
