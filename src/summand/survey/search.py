"""Units by what they write: those whose direction is nearest to a text or an image, and what that is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..data.pictures import as_picture
from ..data.sources import EXTENSIONS
from ..errors import SummandError
from ..models import pixels_of
from ..towers.precision import doubled
from .labels import LEAST_HELD_OUT, described
from .survey import Survey
from .units import SINGULAR

WAYS = ("cosine", "evidence")
_RIVALS = 1000  # texts, or images, that a query is compared with
_COLUMNS = (
    "label",
    "words",
    "verdict",
    "evidence",
    "shown",
    "chance",
    "agreement",
    "texts",
    "weights",
    "correlation",
    "random_limit",
)


@torch.no_grad()
def find(survey: Survey, what: Any, top: int = 10, by: str = "cosine") -> pd.DataFrame:
    r"""cos(r_n, t) for every unit n: the `top` of largest |cos|, one row each. t: a text's embedding minus the mean of
    the model's description pool, an image's minus the mean of the survey's images, or a direction as it is.

    predicts: s_n corr(x_n, ⟨M(I), t⟩) over the held-out images, s_n the sign of the cosine; limit: the 95th percentile
    of the same for the texts of the pool (of an image: for other images) in the place of t; supported: whether it is
    above that. Of units that have nothing to do with the query one in 20 is. by="evidence": supported units first, then
    by what they predict.

    Raises `SummandError` for what is none of these.
    """
    if top < 1:
        raise SummandError(f"at least 1 unit must be asked for, got top={top}")
    if by not in WAYS:
        raise SummandError(f"units are ranked by {' or by '.join(WAYS)}, got by={by!r}")
    target, rivals = _direction(survey, what)
    target = F.normalize(target.cpu().double(), dim=0)
    tables = []
    for group in survey.groups:
        directions = F.normalize(survey.rank_one(group).directions, dim=-1)
        shape, directions = directions.shape[:-1], directions.flatten(0, -2)
        along = directions @ target
        columns = {"cosine": along, **_evidence(survey, survey.held_out(group).flatten(1), directions, target, rivals)}
        order = _order(columns, by)[:top]
        indices = [np.unravel_index(int(place), shape) for place in order]
        units = {"kind": SINGULAR[group.kind], "unit": [group.unit([int(n) for n in index]) for index in indices]}
        tables.append(pd.DataFrame({**units, **{name: values[order].numpy() for name, values in columns.items()}}))
    table = pd.concat(tables, ignore_index=True)
    found = {name: torch.tensor(table[name].to_numpy()) for name in table.columns[2:]}
    table = table.iloc[_order(found, by)[:top].numpy()].reset_index(drop=True)
    if survey.labelled:
        table = table.merge(survey.labels[["kind", "unit", *_COLUMNS]], on=["kind", "unit"], how="left")
    return table


def _order(columns: dict[str, Tensor], by: str) -> Tensor:
    nearest = columns["cosine"].abs()
    if by == "cosine" or "predicts" not in columns:
        return nearest.argsort(descending=True, stable=True)
    worth = 2 * columns["supported"].double() + columns["predicts"].nan_to_num(-1)
    return worth.argsort(descending=True, stable=True)


def _evidence(
    survey: Survey, signals: Tensor, directions: Tensor, target: Tensor, rivals: Float[Tensor, "rival embed"]
) -> dict[str, Tensor]:
    """predicts, limit and supported of every unit of a group; nothing where too few images were kept aside."""
    held = torch.tensor(survey.images["held_out"].to_numpy(), dtype=torch.bool)
    if int(held.sum()) < LEAST_HELD_OUT or not len(rivals):
        return {}
    images = doubled(survey.embeddings)[held] - survey.centre
    varying = F.normalize(doubled(signals) - doubled(signals).mean(dim=0), dim=0)

    def predicts(queries: Float[Tensor, "query embed"]) -> Float[Tensor, "unit query"]:
        said = images @ queries.T
        return (directions @ queries.T).sign() * (varying.T @ F.normalize(said - said.mean(dim=0), dim=0))

    own, limit = predicts(target[None])[:, 0], predicts(F.normalize(rivals, dim=1)).quantile(0.95, dim=1)
    return {"predicts": own, "limit": limit, "supported": (own > limit) & (own > 0)}


def _direction(survey: Survey, what: Any) -> tuple[Float[Tensor, " embed"], Float[Tensor, "rival embed"]]:
    """What is asked for, and what else might have been."""
    held = torch.tensor(survey.images["held_out"].to_numpy(), dtype=torch.bool)
    images = (survey.embeddings.double()[~held] - survey.centre)[:_RIVALS]
    if isinstance(what, (np.ndarray, Tensor)) and what.ndim == 1:
        if len(what) != survey.embeddings.shape[1]:
            raise SummandError(f"a direction of {len(what)} numbers, this survey has {survey.embeddings.shape[1]}")
        return torch.as_tensor(what), images
    model = survey.model
    if isinstance(what, str) and Path(what).suffix.lower() not in EXTENSIONS:
        texts = model.encode_text(described(model, None).texts).cpu().double()
        step = max(1, len(texts) // _RIVALS)
        return model.encode_text(what)[0].cpu().double() - texts.mean(dim=0), (texts - texts.mean(dim=0))[::step]
    if isinstance(what, (str, Path, Image.Image, np.ndarray)):
        output = model.encode_image(pixels_of(model, [as_picture(what)])).cpu().double()
        return F.normalize(output, dim=1)[0] - survey.centre, images
    raise SummandError(f"expected a text, an image or a direction, got {type(what).__name__}")
