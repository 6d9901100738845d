"""What each unit does over a data set: its direction r_n, its mean effect, and when an effect counts as significant."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..data import ImageSource, Skipped
from ..data.sources import batches
from ..effects.effects import Effects, path_norms
from ..errors import SummandError
from ..models import Model, pixels_of
from ..statistics.moments import Moments
from ..statistics.principal_direction import RankOne, rank_one
from ..statistics.top_images import TopImages
from ..towers.pool import PoolTower
from . import Group, Run
from .units import Unit, Wanted, effects_of, groups_of, parse_units

SIGNIFICANT = 0.98
_FEWEST, _TOP = 20, 20


@dataclass(frozen=True)
class Profile:
    r"""r_n, b_n and the norm above which ‖φ_n(x) − b_n‖ is significant, for every unit of some groups (paper A, §4).

    r_n: the first principal direction of the images of largest effect; the threshold: the 98th percentile of the
    centred norms over the data set. images: how many it was made from; centre: the mean of M(x)/‖M(x)‖ over them.
    """

    groups: tuple[Group, ...]
    ranks: tuple[RankOne, ...]
    thresholds: tuple[Float[Tensor, "*unit"], ...]
    images: int
    centre: Float[Tensor, " embed"]

    @property
    def units(self) -> list[Unit]:
        """All units, group after group, the last unit axis running fastest."""
        found = []
        for group, rank in zip(self.groups, self.ranks, strict=True):
            shape = rank.basis.shape[:-2]
            found += [
                Unit(group, tuple(place))
                for place in torch.cartesian_prod(*map(torch.arange, shape)).reshape(-1, len(shape)).tolist()
            ]
        return found

    @property
    def directions(self) -> Float[Tensor, "unit embed"]:
        """r_n of all units, in the order of `units`."""
        return torch.cat([rank.directions.flatten(0, -2) for rank in self.ranks])

    def norms(self, model: Model, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image unit"]:
        """‖φ_n(x) − b_n‖ of all units."""
        rows = []
        for rank, effects in zip(self.ranks, self.effects(model, pixels), strict=True):
            centred = effects.coefficients.double() - rank.mean.to(effects.coefficients.device)
            rows.append(path_norms(centred, effects.basis.double()._gram()).flatten(1))
        return torch.cat(rows, dim=1)

    def projections(self, model: Model, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image unit"]:
        """x_n = ⟨φ_n(x) − b_n, r_n⟩ of all units, signed."""
        made = zip(self.ranks, self.effects(model, pixels), strict=True)
        return torch.cat([rank.project(effects).flatten(1) for rank, effects in made], dim=1)

    @property
    def limits(self) -> Float[Tensor, " unit"]:
        """The thresholds of all units, in the order of `units`."""
        return torch.cat([threshold.flatten() for threshold in self.thresholds])

    def significant(self, norms: Float[Tensor, "image unit"]) -> Bool[Tensor, "image unit"]:
        """Whether each norm exceeds its unit's threshold."""
        return norms > self.limits.to(norms)

    def effects(self, model: Model, pixels: Float[Tensor, "image 3 height width"]) -> list[Effects]:
        """The effects of a batch, group after group."""
        found, _ = effects_of(self.groups, model, pixels)
        return [found[group] for group in self.groups]


def profile(
    model: Model, source: ImageSource, groups: Sequence[Group], batch_size: int = 64, progress: bool = False
) -> Profile:
    """Two passes over a source: means, then the largest centred effects (paper A takes 100 of 5,124 images, 2 %).

    Raises `SummandError` where fewer than 20 images could be read.
    """
    _check_count(source, len(source))
    moments = [Moments() for _ in groups]
    total = torch.zeros(())
    for _, made, outputs in _passes(model, source, groups, batch_size, progress, "means"):
        total = total + F.normalize(outputs.double(), dim=1).sum(dim=0).cpu()
        for each, effects in zip(moments, made, strict=True):
            each.update(effects)
    count = moments[0].count
    _check_count(source, count)
    keep = max(_TOP, int((1 - SIGNIFICANT) * count) + 1)
    tops = [TopImages(keep, each.mean) for each in moments]
    for indices, made, _ in _passes(model, source, groups, batch_size, progress, "largest effects"):
        for top, effects in zip(tops, made, strict=True):
            top.update(effects, indices)
    return Profile(
        tuple(groups),
        tuple(rank_one(top) for top in tops),
        tuple(top.quantile(SIGNIFICANT) for top in tops),
        count,
        total / count,
    )


def _check_count(source: ImageSource, count: int) -> None:
    if count < _FEWEST:
        raise SummandError(f"{source.label}: {count} image(s) could be read; what is usual needs at least {_FEWEST}")


def neuron_groups(model: Model, layers: str | None = None) -> tuple[Group, ...]:
    """The pairs of an attention pool; else the neurons of the layers asked for ("8-10"), by default of the last three
    that have later attention, where paper A finds the strongest effects."""
    if isinstance(model.tower, PoolTower):
        return groups_of(model, [Wanted("pairs")])
    if layers is not None:
        return groups_of(model, parse_units(f"neurons:{layers}"))
    last = model.tower.layers - 1
    return groups_of(model, [Wanted("neurons", tuple(range(max(0, last - 3), last)) or None)])


def profile_of_run(run: Run, groups: Sequence[Group]) -> Profile:
    """The same from what `summand decompose` left, without a pass. Raises `SummandError` for groups not in it."""
    tops = [run.top_images(group) for group in groups]
    return Profile(
        tuple(groups),
        tuple(run.rank_one(group) for group in groups),
        tuple(_threshold(top) for top in tops),
        tops[0].count,
        run.embeddings.double().mean(dim=0),
    )


def _threshold(top: TopImages) -> Float[Tensor, "*unit"]:
    return top.quantile(SIGNIFICANT) if (1 - SIGNIFICANT) * top.count < top.norms.shape[-1] else top.threshold()


def _passes(
    model: Model, source: ImageSource, groups: Sequence[Group], batch_size: int, progress: bool, what: str
) -> Iterator[tuple[list[int], list[Effects], Tensor]]:
    skipped: list[Skipped] = []
    with tqdm(total=len(source), desc=what, unit="img", file=sys.stderr, disable=not progress, leave=False) as bar:
        for batch in batches(source, batch_size, skipped):
            found, parts = effects_of(groups, model, pixels_of(model, batch.images))
            yield batch.indices, [found[group] for group in groups], parts.total()
            bar.update(batch.indices[-1] + 1 - bar.n)
