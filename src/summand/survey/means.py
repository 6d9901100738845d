"""What a survey knows of all terms of the sum: their means over its images, and each of them on the images kept
aside."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from .aside import Terms
from .batch import Consumer
from .consumers import MeanTerms
from .shelf import MEANS, TERMS, Shelf
from .survey import Survey

_AXES = {"heads": ("embed",), "mlps": ("mlp", "embed"), "embedding": ("embed",), "bias": ("embed",)}


def put_terms(shelf: Shelf, consumers: Mapping[str, Consumer]) -> None:
    """The data sets of the terms, from what the consumers know."""
    terms, means = consumers.get("terms"), consumers.get("means")
    if isinstance(terms, Terms) and (aside := terms.ordered()):
        rows = {name: (("image", "embed"), aside[name]) for name in aside if name != "images"}
        shelf.put(TERMS, xr.Dataset(rows, {"image": aside["images"]}))
    if isinstance(means, MeanTerms) and means.count:
        found = {name: (_AXES[name], value) for name, value in means.value.items()}
        shelf.put(MEANS, xr.Dataset(found, attrs={"count": means.count}))


def mean_terms(survey: Survey) -> dict[str, Float[Tensor, "*term embed"]] | None:
    """Means over the images that its statistics are of, in fp64: mlps [mlp, embed]; heads (all together), embedding and
    bias [embed]. None in a survey of an earlier version, or one merged of such."""
    if not survey.shelf.has(MEANS):
        return None
    data = survey.shelf.dataset(MEANS)
    return {name: torch.from_numpy(data[name].values) for name in _AXES}


def merged_means(surveys: list[Survey]) -> MeanTerms:
    """Over the images of all of them; of none where one does not know its own."""
    found = MeanTerms()
    if all(survey.shelf.has(MEANS) for survey in surveys):
        for survey in surveys:
            data, part = survey.shelf.dataset(MEANS), MeanTerms()
            count = int(data.attrs["count"])
            part.restore({"count": np.array(count), **{name: data[name].values * count for name in _AXES}})
            found.merge(part)
    return found
