"""What each unit does over a data set, as a study reads it: r_n, the mean effect, and when an effect is significant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data import ImageSource
from ..effects.effects import Effects, path_norms
from ..errors import SummandError
from ..models import Model
from ..statistics.principal_direction import RankOne
from ..towers.pool import PoolTower
from ..towers.precision import doubled
from .cache import survey_of
from .survey import Survey
from .units import Group, Unit, Wanted, effects_of, groups_of, parse_units

_FEWEST = 20


@dataclass(frozen=True)
class Profile:
    r"""r_n, b_n and the norm above which ‖φ_n(x) − b_n‖ is significant, for every unit of some groups (paper A, §4):
    what a `Survey` says of them, side by side.

    images: how many it was made from; centre: the mean of M(x)/‖M(x)‖ over them.
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
            coefficients = doubled(effects.coefficients)
            centred = coefficients - rank.mean.to(coefficients.device)
            rows.append(path_norms(centred, effects.basis.double()._gram()).flatten(1))
        return torch.cat(rows, dim=1)

    def projections(self, model: Model, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image unit"]:
        """x_n = ⟨φ_n(x) − b_n, r_n⟩ of all units, signed."""
        made = zip(self.ranks, self.effects(model, pixels), strict=True)
        return torch.cat([rank.to(effects.device).project(effects).flatten(1) for rank, effects in made], dim=1)

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
    model: Model, source: ImageSource, groups: Sequence[Group], batch_size: int = 64, progress: bool | None = False
) -> Profile:
    """Of a survey of all images of a source, made now or known from before (`survey_of`).

    Raises `SummandError` where fewer than 20 images could be read.
    """
    _check_count(source.label, len(source))
    survey = survey_of(model, source, groups, batch_size=batch_size, progress=progress)
    found = profile_of(survey, groups)
    _check_count(source.label, found.images)
    return found


def _check_count(label: str, count: int) -> None:
    if count < _FEWEST:
        raise SummandError(f"{label}: {count} image(s) could be read; what is usual needs at least {_FEWEST}")


def neuron_groups(model: Model, layers: str | None = None) -> tuple[Group, ...]:
    """The pairs of an attention pool; else the neurons of the layers asked for ("8-10"), by default of the last three
    that have later attention, where paper A finds the strongest effects."""
    if isinstance(model.tower, PoolTower):
        return groups_of(model, [Wanted("pairs")])
    if layers is not None:
        return groups_of(model, parse_units(f"neurons:{layers}"))
    last = model.tower.layers - 1
    return groups_of(model, [Wanted("neurons", tuple(range(max(0, last - 3), last)) or None)])


def profile_of(survey: Survey | Profile, groups: Sequence[Group] | None = None) -> Profile:
    """Groups of a survey, without a pass: by default all of neurons and of pairs. Raises `SummandError` for groups not
    in it, or where there are none."""
    if isinstance(survey, Profile):
        return survey
    if groups is None:
        groups = [group for group in survey.groups if group.kind != "heads"]
    if not groups:
        raise SummandError(f"{survey!r} holds no neurons or pairs; survey them with units='neurons' or 'pairs'")
    return Profile(
        tuple(groups),
        tuple(survey.rank_one(group) for group in groups),
        tuple(survey.thresholds(group) for group in groups),
        survey.moments(groups[0]).count,
        survey.centre,
    )
