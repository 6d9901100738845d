"""Ablations of neurons (paper A, Figs. 3 and 4, Table 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.effects import Effects, path_norms
from ...errors import SummandError, listed
from ...statistics.moments import Mean, Moments
from ...statistics.principal_direction import RankOne, rank_one
from ...statistics.top_images import TopImages
from ...survey import Group, Survey
from ...text.sparse import prepare_atoms, sparse_code
from ...towers.base import working
from ...towers.listening import listening
from .accuracy import Batch, Version

SIGNIFICANT_SHARE = 0.02


class SecondOrder:
    r"""The second-order effects φ_n of the neurons of a layer (paper A, Fig. 3 and 4), replaced by

    - their means b_n: all of them; only the significant ones, ‖φ_n(x) − b_n‖ ≥ the norm of the top 2 % of the images;
      or only the others;
    - x_n(x) r_n + b_n (rank one), x_n the signed projection on r_n, the first principal direction of the top images;
    - x_n(x) r̂_n + b_n, r̂_n the best approximation of r_n by the m texts that matching pursuit picks.

    Sums over neurons are taken in path space; no vector of a single neuron is built.
    """

    rounds, axis = 2, "layer"

    def __init__(self, layer: int, images: int) -> None:
        self.layer = layer
        self._top = max(1, math.ceil(SIGNIFICANT_SHARE * images))
        self._moments = Moments()
        self._images: TopImages | None = None
        self._rank_one: RankOne | None = None

    def learn(self, turn: int, batch: Batch) -> None:
        effects = batch.second_order(self.layer)
        if turn == 0:
            self._moments.update(effects)
        else:
            assert self._images is not None
            self._images.update(effects, batch.indices)

    def end(self, turn: int) -> None:
        if turn == 0:
            self._images = TopImages(self._top, self._moments.mean)
        else:
            assert self._images is not None
            self._rank_one = rank_one(self._images)
            self._ready()

    def _ready(self) -> None:
        """Called when r_n is known."""

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means, top images and r_n of a survey's neurons."""
        group = Group("neurons", self.layer)
        if not survey.holds(group) or survey.manifest.top == 0:
            return False
        self._moments, self._images = survey.moments(group).to(device), survey.top_images(group).to(device)
        self._rank_one = survey.rank_one(group).to(device)
        self._ready()
        return True

    @property
    def directions(self) -> RankOne:
        """r_n of every neuron, once the passes are over."""
        assert self._rank_one is not None
        return self._rank_one

    def centred(self, batch: Batch) -> tuple[Effects, Float[Tensor, "image neuron path"]]:
        effects = batch.second_order(self.layer)
        return effects, effects.coefficients - self._moments.mean.to(effects.coefficients)

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        assert self._images is not None
        effects, centred = self.centred(batch)
        strong = path_norms(centred, effects.basis._gram()) >= self._images.threshold().to(centred) * (1 - 1e-6)
        amount, directions = self.directions.project(effects), self.directions.directions
        everything = effects.basis.total(centred)
        significant = effects.basis.total(centred * strong[..., None])
        cases = {
            "all mean-ablated": everything,
            "significant mean-ablated": significant,
            "insignificant mean-ablated": everything - significant,
            "rank-one reconstruction": everything - (amount @ directions).to(everything),
        }
        for name, removed in cases.items():
            version = Version("second order", f"second-order effects of layer {self.layer}: {name}", name, self.layer)
            yield version, batch.total - removed


class SparseSecondOrder(SecondOrder):
    """The reconstruction x_n r̂_n + b_n from m texts, for several m and pools (paper A, Fig. 4).

    One pursuit with the largest m serves all: the first m picks of a longer pursuit are those of a shorter one, and r̂_n
    is the projection of r_n on their span. parity="paper": the dictionary of the released code (each embedding
    dimension scaled over the pool, not each text).
    """

    axis = "texts a neuron"

    def __init__(
        self,
        layer: int,
        images: int,
        pools: Mapping[str, Float[Tensor, "text embed"]],
        sizes: Sequence[int],
        parity: Literal["paper"] | None = None,
    ) -> None:
        super().__init__(layer, images)
        self._parity: Literal["paper"] | None = parity
        if not pools or not sizes or min(sizes) < 1:
            raise SummandError(
                f"sparse codes need pools of texts and sizes of at least 1; got {listed(pools)}, {sizes}"
            )
        self._pools, self._sizes = dict(pools), sorted(sizes)
        self._codes: dict[tuple[str, int], Tensor] = {}

    def _ready(self) -> None:
        targets = self.directions.directions
        for name, texts in self._pools.items():
            largest = min(max(self._sizes), len(texts), targets.shape[1])
            code = sparse_code(targets, texts, largest, parity=self._parity)
            atoms = prepare_atoms(texts.to(targets), parity=self._parity)
            for size in self._sizes:
                self._codes[name, size] = first_texts(targets, atoms, code.indices[:, :size])

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        effects, centred = self.centred(batch)
        amount = self.directions.project(effects)
        rest = batch.total - effects.basis.total(centred)
        family = f"sparse codes, layer {self.layer}"
        whole = "rank-one reconstruction"
        yield Version(family, f"{family}: {whole}", whole, None), rest + amount @ self.directions.directions
        for (name, size), directions in self._codes.items():
            version = Version(family, f"{family}: {size} texts a neuron, {name}", name, size)
            yield version, rest + amount @ directions


def first_texts(
    targets: Float[Tensor, "target embed"], atoms: Float[Tensor, "atom embed"], picks: Tensor, block: int = 256
) -> Float[Tensor, "target embed"]:
    """Projection of each target on the span of its picks (−1: none)."""
    found = []
    for some, chosen in zip(targets.split(block), picks.split(block), strict=True):
        there = (chosen >= 0)[..., None]
        basis = torch.linalg.qr((atoms[chosen.clamp(min=0)] * there).transpose(1, 2)).Q.transpose(1, 2) * there
        found.append(torch.einsum("tme,tmf,tf->te", basis, basis, some))
    return torch.cat(found)


class Indirect:
    """All neurons of a layer set to their mean activation at every token, and the network run on from there: the
    indirect effect, the baseline of paper A (Table 1). One more forward pass for every batch."""

    rounds, axis = 1, "layer"

    def __init__(self, layer: int) -> None:
        self._layer, self._mean = layer, Mean()

    def learn(self, turn: int, batch: Batch) -> None:
        tower: Any = batch.model.tower
        seen: list[Tensor] = []

        def keep(hidden: Tensor, _: Any) -> None:
            seen.append(working(tower.batch_first(hidden)))

        with listening([(tower.blocks[self._layer].neuron_map(), "before", keep)], tower.visual):
            batch.model.encode_image(batch.pixels)
        self._mean.update(seen[0])

    def end(self, turn: int) -> None:
        pass

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        tower: Any = batch.model.tower

        def replace(hidden: Tensor) -> Tensor:
            mean = self._mean.value.to(hidden)  # [token, neuron]
            first = tower.batch_first(hidden) is hidden
            return (mean[None] if first else mean[:, None]).expand_as(hidden)

        with listening([(tower.blocks[self._layer].neuron_map(), "replace", replace)], tower.visual):
            outputs = batch.model.encode_image(batch.pixels)
        name = "indirect effects mean-ablated"
        yield (
            Version("second order", f"indirect effects of layer {self._layer} mean-ablated", name, self._layer),
            outputs,
        )
