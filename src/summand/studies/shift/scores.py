"""How much of a named concept is in an image, without a classifier: paper B's score, or the projection on r."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ...data import ImageSource
from ...effects.published import Parity, check_parity
from ...errors import SummandError
from ...maps.pair_maps import pair_signs
from ...models import Model
from ...survey import Group
from ...survey.engine import read
from ...survey.profile import Profile, profile
from ...survey.units import effects_of
from ...text.pools import Pool
from ...towers.directions import Directions
from ...towers.pool import PoolTower
from ...towers.precision import doubled
from ..zeroshot import classifier, named_classes, read_templates
from .statistics import kolmogorov_smirnov, standardised_difference

TOP = 5


@dataclass(frozen=True)
class ConceptUnits:
    """The units that speak most for each concept. texts: the concepts; chosen: (neuron, head) of pairs, (layer, neuron)
    of neurons; weights, offsets: how neurons are read, None where the units are pairs. parity="paper": pairs are
    counted with their share of the biases, as paper B's code does it."""

    texts: tuple[str, ...]
    chosen: Int[Tensor, "concept unit 2"]
    weights: Float[Tensor, "concept unit path"] | None = None
    offsets: Float[Tensor, " concept"] | None = None
    parity: Parity = None

    @property
    def names(self) -> list[list[str]]:
        """What the units of each concept are called."""
        between = "." if self.weights is None else ":"
        return [[between.join(map(str, unit)) for unit in some] for some in self.chosen.tolist()]

    def scores(self, model: Model, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image concept"]:
        r"""Of pairs: ‖Σ_{top 5} r^{n,h}‖ / ‖Σ_{n,h} r^{n,h}‖ (paper B). Of neurons: Σ_{top 5} ⟨φ_n − b_n, r_n⟩."""
        if self.weights is None:
            effects = model.pairs(pixels, parity=self.parity)
            rest = effects.rest
            assert rest is not None
            whole = doubled(model.encode_image(pixels) - rest).norm(dim=1)
            columns = []
            for neurons, heads in self.chosen.transpose(1, 2):
                amounts = doubled(effects.coefficients[:, neurons, heads]).flatten(1)  # [image, pair · path]
                columns.append((amounts @ _rows(effects.basis, neurons, heads)).norm(dim=1) / whole)
            return torch.stack(columns, dim=1)
        assert self.offsets is not None
        layers, neurons = self.chosen.unbind(dim=2)
        found = effects_of([Group("neurons", layer) for layer in layers.unique().tolist()], model, pixels)[0]
        total = -self.offsets.expand(len(pixels), -1).to(model.device)
        for group, effects in found.items():
            here = layers == group.layer
            picked = doubled(effects.coefficients[:, neurons[here]])
            along = torch.einsum("iup,up->iu", picked, self.weights[here][:, : picked.shape[2]].to(picked))
            total = total.index_add(1, here.nonzero()[:, 0].to(along.device), along)
        return total

    def measure(
        self, model: Model, source: ImageSource, batch_size: int = 64, progress: bool | None = False
    ) -> Float[Tensor, "image concept"]:
        """The scores of every image of a source that can be read."""
        passed = read(model, source, batch_size, what="concepts", progress=progress)
        return torch.cat([self.scores(model, batch.pixels).cpu() for batch in passed])


@dataclass(frozen=True)
class NamedConcepts:
    """Concepts that were asked for by name, and the scores of the reference images."""

    units: ConceptUnits
    scores: Float[np.ndarray, "image concept"]

    def compare(
        self, model: Model, source: ImageSource, batch_size: int = 64, progress: bool | None = False
    ) -> list[dict[str, Any]]:
        """One row a concept: mean scores of both sets, standardised change, and p of a two-sample Kolmogorov–Smirnov
        test, times the number of concepts (Bonferroni)."""
        return self.rows(self.units.measure(model, source, batch_size, progress).numpy())

    def rows(self, current: Float[np.ndarray, "image concept"]) -> list[dict[str, Any]]:
        """The same of scores at hand."""
        _, p = kolmogorov_smirnov(self.scores, current)
        effect = standardised_difference(self.scores, current)
        return [
            {"concept": text, "units": self.units.names[i], "reference": float(self.scores[:, i].mean()),
             "current": float(current[:, i].mean()), "effect": float(effect[i]), "p": min(1.0, float(p[i]) * len(p))}
            for i, text in enumerate(self.units.texts)
        ]  # fmt: skip


def named_concepts(
    model: Model,
    source: ImageSource,
    texts: Sequence[str],
    pool: Pool,
    batch_size: int = 64,
    progress: bool | None = False,
    known: Profile | None = None,
    parity: Parity = None,
) -> NamedConcepts:
    """Texts, less the mean of a pool's, scored on reference images: by the pairs of an attention pool, else by the
    neurons of the third last layer, whose directions are learnt from the images. known: a profile of these images, used
    where it is of those neurons.

    parity="paper" (a ModifiedResNet): as paper B's code has it. A concept is the mean of OpenAI's 80 templates filled
    with its words (for a scenes model of its own), from which no pool's mean is taken; the sides of the pairs are those
    of most of their 50 largest centred effects on these images; and biases are dealt out over the pairs.
    """
    check_parity(parity)
    if parity == "paper":
        check_published(model)
        weights = classifier(model, named_classes(texts, read_templates(None, model)))

        def pixels() -> Iterator[Tensor]:
            return (batch.pixels for batch in read(model, source, batch_size, what="sides of pairs", progress=progress))

        units = concept_units(model, weights, texts, signs=pair_signs(model, pixels), parity=parity)
        return NamedConcepts(units, units.measure(model, source, batch_size, progress).numpy())
    directions = model.encode_text(list(texts)) - model.encode_text(pool.texts).mean(dim=0)
    neurons = Group("neurons", usual_layer(model))
    if not isinstance(model.tower, PoolTower) and (known is None or known.groups != (neurons,)):
        known = profile(model, source, [neurons], batch_size, progress)
    units = concept_units(model, directions, texts, known)
    return NamedConcepts(units, units.measure(model, source, batch_size, progress).numpy())


def check_published(model: Model) -> None:
    """Raise `SummandError` where paper B's score is not defined."""
    if model.tower.kind != "ModifiedResNet":
        raise SummandError(
            f"paper B's score of a concept is of the pairs of a ModifiedResNet; {model.name} is a {model.tower.kind}: "
            f"score it as Summand does, without the published protocol"
        )


def usual_layer(model: Model) -> int:
    """The layer whose neurons are read unless another is asked for: the third last."""
    return max(0, model.tower.layers - 3)


def concept_units(
    model: Model,
    directions: Float[Tensor, "concept embed"],
    texts: Sequence[str],
    profile: Profile | None = None,
    signs: Float[Tensor, "neuron head"] | None = None,
    parity: Parity = None,
) -> ConceptUnits:
    r"""The 5 units of largest ⟨r, t⟩ for each concept, r of unit length, t a text minus what its siblings share.

    Of a tower with an attention pool these are neuron–head pairs, whose r is row n of W_VO^h and comes from the weights
    alone (a pair's coefficient is a weighted mean of activations, so it grows along +r). Of others, the neurons of
    `profile`. signs: of the pairs' directions, where they are to be as published (`pair_signs`); parity: how
    the pairs are counted. Raises `SummandError` where neither is at hand.
    """
    if len(texts) != len(directions):
        raise SummandError(f"{len(texts)} texts for {len(directions)} directions")
    if isinstance(model.tower, PoolTower):
        basis = model.tower.pair_directions()
        length = basis._gram()[..., 0, 0].sqrt().clamp(min=1e-12)
        along = basis.toward(directions.to(length))[..., 0, :] / length[..., None]
        along = along if signs is None else along * signs[..., None].to(along)
        places = _largest(along.flatten(0, -2))
        chosen = torch.stack([places // basis.shape[1], places % basis.shape[1]], dim=2)
        return ConceptUnits(tuple(texts), chosen, parity=parity)
    if profile is None:
        raise SummandError("scores of concepts in a class-token tower are of its neurons; give a profile of them")
    places = _largest(profile.directions @ F.normalize(doubled(directions), dim=1).to(profile.directions).T)
    units = profile.units
    chosen = [[(units[n].group.layer or 0, *units[n].index) for n in some] for some in places.tolist()]
    readings = [rank.reading()[..., 0].cpu() for rank in profile.ranks]
    most = max(reading.shape[1] for reading in readings)  # later layers have fewer paths
    weights = torch.cat([F.pad(reading, (0, most - reading.shape[1])) for reading in readings])
    usual = torch.cat(
        [(reading * rank.mean.cpu()).sum(1) for reading, rank in zip(readings, profile.ranks, strict=True)]
    )
    return ConceptUnits(tuple(texts), torch.tensor(chosen), weights[places], usual[places].sum(dim=1))


def _largest(along: Float[Tensor, "unit concept"]) -> Int[Tensor, "concept top"]:
    return along.topk(min(TOP, len(along)), dim=0).indices.T.cpu()


def _rows(basis: Directions, neurons: Tensor, heads: Tensor) -> Float[Tensor, "pair_path embed"]:
    """The directions of some pairs, without building those of the others."""
    pairs = zip(neurons.tolist(), heads.tolist(), strict=True)
    return doubled(torch.cat([basis.select([neuron]).dense()[0, head] for neuron, head in pairs]))
