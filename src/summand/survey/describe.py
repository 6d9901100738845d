"""The units of a survey in words: texts, weights, and how much of the unit they catch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..text.labels import importance
from ..text.sparse import prepare_atoms, sparse_code
from ..text.textspan import textspan
from ..towers.precision import doubled
from .survey import Survey
from .units import Group


@dataclass(frozen=True)
class Descriptions:
    """Units of one group in words. r_n ≈ Σ_j weights_j a_j, with a_j the centred texts of unit length.

    indices: into the pool, −1 where a unit needed fewer texts. cosine: of r_n with the sum. explained: cumulative
    share of the unit's variance after each text, for heads alone.
    """

    units: tuple[tuple[int, ...], ...]
    indices: Int[Tensor, "unit text"]
    weights: Float[Tensor, "unit text"]
    targets: Float[Tensor, "unit embed"]
    cosine: Float[Tensor, " unit"]
    importance: Float[Tensor, " unit"]
    explained: Float[Tensor, "unit text"] | None


def describe(
    run: Survey,
    group: Group,
    texts: Float[Tensor, "text embed"],
    size: int,
    most: int | None = None,
    progress: bool | None = False,
) -> Descriptions:
    """Heads by TextSpan, with the weights that fit r_n best; neurons and pairs by a sparse code of r_n (papers A, B).

    texts: embeddings of the pool. size: texts a unit. most: describe only so many units, the most important ones.
    """
    rank = run.rank_one(group)
    targets = rank.directions.flatten(0, -2)
    places = list(np.ndindex(*rank.basis.shape[:-2]))
    if group.kind == "heads":
        moments = run.moments(group)
        weight = importance(moments, doubled(texts)).flatten()
        spans = textspan(moments, texts, size)
        indices, explained = spans.indices.flatten(0, -2), spans.explained.flatten(0, -2)
        chosen = prepare_atoms(doubled(texts))[indices.clamp(min=0)] * (indices >= 0)[..., None]  # [unit, text, embed]
        weights = torch.linalg.lstsq(chosen.transpose(1, 2), targets[..., None], driver="gelsd").solution[..., 0]
        fitted = torch.einsum("ut,ute->ue", weights, chosen)
        cosine = torch.cosine_similarity(fitted, targets, dim=1)
        return Descriptions(tuple(places), indices, weights, targets, cosine, weight, explained)
    scale = torch.from_numpy(run.dataset(group)["scale"].values).double().flatten()
    centred = doubled(texts) - doubled(texts).mean(dim=0)
    along = torch.einsum("ue,ef,uf->u", targets, centred.T @ centred, targets).clamp(min=0) * scale.square()
    weight = along / along.sum().clamp(min=torch.finfo(along.dtype).tiny)
    rows = torch.arange(len(places))
    if most is not None and most < len(places):
        rows = weight.argsort(descending=True, stable=True)[:most].sort().values
    code = sparse_code(targets[rows].float(), texts.float(), size, progress=progress)
    return Descriptions(
        tuple(places[row] for row in rows.tolist()),
        code.indices,
        doubled(code.coefficients),
        targets[rows],
        doubled(code.cosine),
        weight[rows],
        None,
    )
