"""Neurons that the picture moves unusually far, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...effects.effects import path_norms
from ...errors import SummandError
from ...towers.precision import doubled
from .known import Known
from .question import Along, Reading


@dataclass(frozen=True)
class Moved:
    """A unit whose effect is significant. times: ‖φ − b‖ over the norm that 2 % of images exceed. along: x_n, to which
    side of its direction. value: ⟨φ − b, d⟩, what this adds to the score. words: of the end that the picture is at.
    proven: whether held-out images showed them; None where that was not tested."""

    unit: str
    times: float
    along: float
    value: float
    words: str
    proven: bool | None


@torch.no_grad()
def moved(known: Known, reading: Reading, along: Along, count: int = 12) -> list[Moved]:
    r"""Units with ‖φ_n(x) − b_n‖ above their 98th percentile (paper A, §4), the furthest first.

    Raises `SummandError` where there is no survey of neurons or pairs, or one without top images.
    """
    profile = known.profile
    if profile is None:
        raise SummandError(
            "what is usual of neurons is not known: open a survey that has them, summand survey --units heads,neurons "
            "--out run, then summand explore run"
        )
    unit, direction = reading.scale / max(float(reading.terms.output.norm()), 1e-12), reading.direction(along)
    norms, sides, values = [], [], []
    for rank, effects in zip(profile.ranks, profile.effects(known.model, reading.pixels), strict=True):
        rank = rank.to(effects.device)
        centred = effects.with_coefficients(doubled(effects.coefficients) - rank.mean)
        norms.append(path_norms(centred.coefficients, effects.basis.double()._gram()).flatten().cpu())
        sides.append(rank.project(effects).flatten().cpu())
        values.append(centred.toward(direction[None].to(effects.device))[..., 0].flatten().cpu())
    times = torch.cat(norms) / profile.limits.to(norms[0]).clamp(min=1e-12)
    x, value = torch.cat(sides), unit * torch.cat(values)
    places = [int(i) for i in times.argsort(descending=True, stable=True)[:count] if times[i] > 1]
    names = profile.units
    return [_one(known, names[i].name, float(times[i]), float(x[i]), float(value[i])) for i in places]


def _one(known: Known, unit: str, times: float, along: float, value: float) -> Moved:
    said = known.words.get(unit)
    ends = [] if said is None else [end for end in said.ends if end.words and (end.sign > 0) == (along > 0)]
    best = next((end for end in ends if end.proven), ends[0] if ends else None)
    if best is None:
        return Moved(unit, times, along, value, "", None)
    proven = None if best.verdict == "cannot be tested" else best.proven
    return Moved(unit, times, along, value, best.text, proven)
