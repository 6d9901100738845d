"""All units at once: which are about one thing, which about two, and which do what another does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..errors import SummandError
from ..statistics.likeness import clarity, halves, twins
from ..text.poles import images_of_an_end
from .labels import LEAST_HELD_OUT
from .survey import Survey
from .units import SINGULAR

ALIKE = 0.9
"""Two units are the same to a reader where the cosine of their effects is at least this."""
_DRAWS = 400
_LABELS = ("label", "verdict")


@dataclass(frozen=True)
class Limits:
    """What sets of as many held-out images, drawn at random, reach in 95 of 100 cases. images: how many a set has."""

    clarity: float
    within: float
    images: int


@torch.no_grad()
def audit(survey: Survey, most: int | None = None) -> tuple[pd.DataFrame, Limits]:
    """A row a unit, the one that varies most first: kind, unit, weight (its share of the variance of all x_n), clarity
    and clear, between and several, twin, alike and redundant; label and verdict where the survey is labelled.

    The images of a unit are the k held-out ones of largest x_n (`images_of_an_end`), their embeddings less the mean of
    the survey. clear: clarity is above that of random sets (95th percentile). between: the mean cosine of images of the
    two halves into which they fall; several: each half is more alike than those of random sets, and images of both are
    no more alike than any two. twin: the unit whose effects are nearest (`twins`); redundant: to `ALIKE`. most: only so
    many units, those that vary most.

    Raises `SummandError` for a survey with fewer than 20 held-out images.
    """
    if most is not None and most < 1:
        raise SummandError(f"most must be at least 1, got {most}")
    held = torch.tensor(survey.images["held_out"].to_numpy(), dtype=torch.bool)
    if int(held.sum()) < LEAST_HELD_OUT:
        raise SummandError(
            f"{survey.shelf.label} kept {int(held.sum())} images aside, an audit needs at least {LEAST_HELD_OUT}; make "
            f"the survey again with more images, or a larger held_out"
        )
    places = [(group, index) for group in survey.groups for index in np.ndindex(*survey.shape(group))]
    names = [(SINGULAR[group.kind], group.unit(index)) for group, index in places]
    signals = torch.cat([survey.held_out(group).flatten(1) for group in survey.groups], dim=1).double()
    directions = torch.cat([survey.rank_one(group).directions.flatten(0, -2) for group in survey.groups])
    weight = signals.var(dim=0)
    weight = weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    order = weight.argsort(descending=True, stable=True)[:most]
    embeddings = survey.embeddings.double()[held] - survey.centre
    found, limits = _of_images(signals[:, order], embeddings)
    alike, twin = twins(signals[:, order], directions[order])
    table = pd.DataFrame(
        {
            "kind": [names[i][0] for i in order.tolist()],
            "unit": [names[i][1] for i in order.tolist()],
            "weight": weight[order].numpy(),
            **found,
            "twin": [names[int(order[i])][1] for i in twin],
            "alike": alike.numpy(),
            "redundant": (alike >= ALIKE).numpy(),
        }
    )
    if survey.labelled:
        table = table.merge(survey.labels[["kind", "unit", *_LABELS]], on=["kind", "unit"], how="left")
    return table, limits


def _of_images(signals: Tensor, embeddings: Float[Tensor, "image embed"]) -> tuple[dict[str, np.ndarray], Limits]:
    k = images_of_an_end(len(embeddings))
    draw = torch.Generator().manual_seed(0)
    random = embeddings[torch.stack([torch.randperm(len(embeddings), generator=draw)[:k] for _ in range(_DRAWS)])]
    limits = Limits(float(clarity(random).quantile(0.95)), float(halves(random).within.quantile(0.95)), k)
    found: dict[str, list[Tensor]] = {"clarity": [], "between": [], "within": []}
    for some in signals.topk(k, dim=0).indices.T.split(1024):
        images = F.normalize(embeddings[some], dim=-1)
        split = halves(images)
        for name, values in (("clarity", clarity(images)), ("between", split.between), ("within", split.within)):
            found[name].append(values)
    whole = {name: torch.cat(parts) for name, parts in found.items()}
    several = (whole["within"] > limits.within) & (whole["between"] < 0)
    columns = {
        "clarity": whole["clarity"],
        "clear": whole["clarity"] > limits.clarity,
        "between": whole["between"],
        "several": several,
    }
    return {name: column.numpy() for name, column in columns.items()}, limits
