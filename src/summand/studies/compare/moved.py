"""Which images two models see most differently, and through which heads and MLPs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data import ImageSource
from ...data.sources import Some
from ...effects.direct import Parts
from ...models import Model
from ...survey.batch import read
from ...towers.precision import doubled
from .readings import Readings

_THROUGH = 3  # terms that are named of an image


@torch.no_grad()
def moved(
    models: tuple[Model, Model],
    source: ImageSource,
    indices: list[int],
    readings: tuple[Readings, Readings],
    texts: tuple[Float[Tensor, "value embed"], Float[Tensor, "value embed2"]],
    words: list[str],
    top: int,
    batch_size: int = 64,
) -> list[dict[str, Any]]:
    r"""The images of largest ‖d‖, d_v = r_v^b − r_v^a the change of what is read in them (`Readings`), and the terms
    that it came through: Σ_v d_v (⟨c_b − c̄_b, t_v^b⟩ − ⟨c_a − c̄_a, t_v^a⟩), c a head's or an MLP's effect over ‖M‖ and
    c̄ its mean over the images. Over all terms they sum to ‖d‖²; `adds` are shares of it.

    indices: the number of each row of the readings in the source. words: of the values.
    """
    change = readings[1].values - readings[0].values
    most = change.norm(dim=1).argsort(descending=True, stable=True)[:top].tolist()
    some = Some(source, np.array([indices[i] for i in most]))
    along = [
        _along(model, source, some, change[most] @ own, batch_size) for model, own in zip(models, texts, strict=True)
    ]
    rows = []
    for place, i in enumerate(most):
        if any(place not in each for each in along):  # it can no longer be read
            continue
        before, after = (each[place] for each in along)
        adds = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in dict.fromkeys([*before, *after])}
        best = sorted(adds, key=lambda name: -abs(adds[name]))[:_THROUGH]
        whole = float(change[i].square().sum()) or 1.0
        rows.append({
            "index": indices[i], "image": source.name(indices[i]), "moved": float(change[i].norm()),
            "gained": words[int(change[i].argmax())], "lost": words[int(change[i].argmin())],
            "through": best, "adds": [adds[name] / whole for name in best], "whole": sum(adds.values()) / whole,
        })  # fmt: skip
    return rows


def _along(
    model: Model, source: ImageSource, some: ImageSource, directions: Float[Tensor, "image embed"], batch_size: int
) -> dict[int, dict[str, float]]:
    """⟨c − c̄, u⟩ of every term of those of some images that can be read, each along a direction of its own. c̄ is of
    effects over ‖M(x)‖, image by image, which a survey's means are not."""
    total, count = torch.zeros(()), 0
    for batch in read(model, source, batch_size, progress=False):
        total, count = total + terms_of(batch.parts).sum(dim=0), count + len(batch)
    found: dict[int, list[float]] = {}
    for batch in read(model, some, batch_size, progress=False, least=0):
        own = directions[batch.indices].to(total)
        values = torch.einsum("ite,ie->it", terms_of(batch.parts) - total / count, own).tolist()
        found.update(zip(batch.indices, values, strict=True))
    names = term_names(model, total.shape[0])
    return {place: dict(zip(names, values, strict=True)) for place, values in found.items()}


def terms_of(parts: Parts) -> Float[Tensor, "image term embed"]:
    """Heads, MLPs, the embedding and the constants over ‖M‖."""
    rest = torch.stack([parts.embedding(), parts.bias()], dim=1)
    whole = doubled(torch.cat([parts.heads().flatten(1, 2), parts.mlps(), rest], dim=1))
    return (whole / doubled(parts.total()).norm(dim=1)[:, None, None]).cpu()


def term_names(model: Model, terms: int) -> list[str]:
    """Of the terms in the order of `terms_of`."""
    heads = [f"{layer}.{head}" for layer in range(model.tower.layers) for head in range(model.tower.heads)]
    return [*heads, *(f"MLP {layer}" for layer in range(terms - len(heads) - 2)), "embedding", "constants"]
