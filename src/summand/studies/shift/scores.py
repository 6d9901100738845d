"""How much of a named concept is in an image, without a classifier: paper B's score, or the projection on r."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...data import ImageSource
from ...data.sources import batches
from ...errors import SummandError
from ...models import Model
from ...runs.collect import pixels_of
from ...towers.pool import PoolTower
from ..profile import Profile

TOP = 5


@dataclass(frozen=True)
class ConceptUnits:
    """The units that speak most for each concept. texts: the concepts; chosen: [concept, TOP], places among all units
    (first axis slowest); profile: of the neurons, None where the units are pairs."""

    texts: tuple[str, ...]
    chosen: Tensor
    profile: Profile | None

    def names(self, model: Model) -> list[list[str]]:
        """What the units of each concept are called."""
        if self.profile is not None:
            units = self.profile.units
            return [[units[int(place)].name for place in some] for some in self.chosen]
        heads = model.tower.heads
        return [[f"{int(place) // heads}.{int(place) % heads}" for place in some] for some in self.chosen]

    def scores(self, model: Model, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image concept"]:
        r"""Of pairs: ‖Σ_{top 5} r^{n,h}‖ / ‖Σ_{n,h} r^{n,h}‖ (paper B). Of neurons: Σ_{top 5} ⟨φ_n − b_n, r_n⟩."""
        if self.profile is None:
            effects = model.pairs(pixels)
            rest = effects.rest
            assert rest is not None
            whole = (model.encode_image(pixels) - rest).double().norm(dim=1)
            coefficients = effects.coefficients[..., 0].flatten(1)
            columns = []
            for some in self.chosen:
                amounts = coefficients[:, some].double()
                columns.append((amounts @ _rows(model, some)).norm(dim=1) / whole)
            return torch.stack(columns, dim=1)
        projected = [
            rank.project(effects).flatten(1)
            for rank, effects in zip(self.profile.ranks, self.profile.effects(model, pixels), strict=True)
        ]
        along = torch.cat(projected, dim=1)
        return torch.stack([along[:, some].sum(dim=1) for some in self.chosen], dim=1)

    def measure(self, model: Model, source: ImageSource, batch_size: int = 64) -> Float[Tensor, "image concept"]:
        """The scores of every image of a source that can be read."""
        found = [self.scores(model, pixels_of(model, batch.images)).cpu() for batch in batches(source, batch_size, [])]
        if not found:
            raise SummandError(f"{source.label}: no image could be read")
        return torch.cat(found)


def concept_units(
    model: Model, directions: Float[Tensor, "concept embed"], texts: Sequence[str], profile: Profile | None = None
) -> ConceptUnits:
    r"""The 5 units of largest ⟨r, t⟩ for each concept, r of unit length, t a text minus what its siblings share.

    Of a tower with an attention pool these are neuron–head pairs, whose r is row n of W_VO^h and comes from the weights
    alone (a pair's coefficient is a weighted mean of activations, so it grows along +r). Of others, the neurons of
    `profile`. Raises `SummandError` where neither is at hand.
    """
    if len(texts) != len(directions):
        raise SummandError(f"{len(texts)} texts for {len(directions)} directions")
    pooled = isinstance(model.tower, PoolTower)
    if not pooled and profile is None:
        raise SummandError("scores of concepts in a class-token tower are of its neurons; give a profile of them")
    if pooled:
        basis = model.tower.pair_directions()
        length = basis.gram[..., 0, 0].sqrt().clamp(min=1e-12)
        along = basis.toward(directions.to(length))[..., 0, :] / length[..., None]
        along = along.flatten(0, -2)
    else:
        assert profile is not None
        along = profile.directions @ F.normalize(directions.double(), dim=1).to(profile.directions).T
    chosen = along.topk(min(TOP, len(along)), dim=0).indices.T
    return ConceptUnits(tuple(texts), chosen, None if pooled else profile)


def _rows(model: Model, places: Tensor) -> Float[Tensor, "pair embed"]:
    """The directions of some pairs, without building those of the others."""
    basis = model.tower.pair_directions()
    heads = basis.shape[1]
    rows = [basis.select([int(place) // heads]).dense()[0, int(place) % heads, 0] for place in places]
    return torch.stack(rows).double()
