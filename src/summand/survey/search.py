"""Units by what they write: those whose direction is nearest to a text or an image."""

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

from ..data import open_images
from ..errors import SummandError
from ..models import pixels_of
from .labels import described
from .survey import Survey
from .units import SINGULAR

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


def find(survey: Survey, what: Any, top: int = 10) -> pd.DataFrame:
    r"""cos(r_n, t) for every unit n: the `top` of largest |cos|, one row each. t: a text's embedding minus the mean of
    the model's description pool, an image's minus the mean of the survey's images, or a direction as it is.

    Raises `SummandError` for what is none of these.
    """
    if top < 1:
        raise SummandError(f"at least 1 unit must be asked for, got top={top}")
    target = F.normalize(_direction(survey, what).cpu().double(), dim=0)
    tables = []
    for group in survey.groups:
        directions = survey.rank_one(group).directions
        along = (F.normalize(directions, dim=-1) @ target).flatten()
        best = along.abs().argsort(descending=True, stable=True)[:top]
        indices = [np.unravel_index(int(place), directions.shape[:-1]) for place in best]
        tables.append(
            pd.DataFrame(
                {
                    "kind": SINGULAR[group.kind],
                    "unit": [group.unit([int(n) for n in index]) for index in indices],
                    "cosine": along[best].tolist(),
                }
            )
        )
    table = pd.concat(tables, ignore_index=True)
    order = np.argsort(-np.abs(table["cosine"].to_numpy()), kind="stable")[:top]
    table = table.iloc[order].reset_index(drop=True)
    if survey.labelled:
        table = table.merge(survey.labels[["kind", "unit", *_COLUMNS]], on=["kind", "unit"], how="left")
    return table


def _direction(survey: Survey, what: Any) -> Float[Tensor, " embed"]:
    if isinstance(what, (np.ndarray, Tensor)) and what.ndim == 1:
        if len(what) != survey.embeddings.shape[1]:
            raise SummandError(f"a direction of {len(what)} numbers, this survey has {survey.embeddings.shape[1]}")
        return torch.as_tensor(what)
    model = survey.model
    if isinstance(what, str):
        return model.encode_text(what)[0].cpu() - model.encode_text(described(model, None).texts).mean(dim=0).cpu()
    if isinstance(what, (Path, Image.Image, np.ndarray)):
        picture = open_images(what).image(0)
        output = model.encode_image(pixels_of(model, [picture])).cpu().double()
        return F.normalize(output, dim=1)[0] - survey.centre
    raise SummandError(f"expected a text, an image or a direction, got {type(what).__name__}")
