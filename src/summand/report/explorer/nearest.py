"""The survey's pictures that are most like this one, as a whole, in a property, or in what a head writes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...studies.retrieve.index import Index, coordinates, property_axes
from ...survey import Group, Survey
from ...unit import Unit
from .known import Known
from .question import Reading

WHOLE = "everything"


@dataclass(frozen=True)
class Near:
    """An image of the survey: its number, its name, and its cosine."""

    image: int
    name: str
    cosine: float


def ways(known: Known) -> list[str]:
    """By what pictures can be compared: everything, a property along its texts, and, where the survey keeps what heads
    write, a property's heads."""
    if known.survey is None:
        return []
    kept = set(known.survey.manifest.kept)
    by_heads = [f"{name} (its heads)" for name, heads in known.properties.items() if any(h[0] in kept for h in heads)]
    return [WHOLE, *known.kinds, *by_heads]


@torch.no_grad()
def nearest(known: Known, reading: Reading, way: str = WHOLE, count: int = 8) -> list[Near]:
    r"""The images of largest cos(φ(q) − μ, φ(x) − μ), φ the whole M/‖M‖, that along the axes of a property's texts, or
    what its heads write; from what the survey keeps, without a pass. Raises `SummandError` for an unknown way."""
    survey = known.survey
    if survey is None:
        raise SummandError("there are no pictures to compare with: open a survey, summand explore SURVEY")
    if way not in ways(known):
        raise SummandError(f"pictures cannot be compared by {way!r}; there are {', '.join(ways(known))}")
    if way.endswith(" (its heads)"):
        asked, features = _of_heads(known, survey, reading, way.removesuffix(" (its heads)"))
    else:
        axes = None if way == WHOLE else property_axes(known.model, known.pool, way).float().cpu()
        asked, features = F.normalize(reading.terms.output, dim=0)[None], survey.embeddings.cpu()
        if axes is not None:
            asked, features = asked @ axes.T, features @ axes.T
    images = survey.images
    index = Index(features.float().numpy(), images.index.to_numpy(), ())
    found, cosines = index.search(asked.float(), min(count, len(index)))
    names = images["name"]
    return [
        Near(int(i), str(names.get(int(i), "")), float(c)) for i, c in zip(found[0], cosines[0], strict=True)
    ]  # fmt: skip


def _of_heads(
    known: Known, survey: Survey, reading: Reading, name: str
) -> tuple[Float[Tensor, "1 feature"], Float[Tensor, "image feature"]]:
    layers = list(survey.manifest.kept)
    own, kept = known.model.decompose(reading.pixels).head_effects(), survey.kept
    asked, features = [], []
    for layer, head in known.properties[name]:
        if layer in layers:
            asked.append(coordinates(own, Unit(Group("heads"), (layer, head))).cpu())
            features.append(coordinates(kept, Unit(Group("heads"), (layers.index(layer), head))).cpu())
    return torch.cat(asked, dim=1), torch.cat(features, dim=1)
