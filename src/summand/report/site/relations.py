"""How units hang together: which write along the same direction, and which heads carry a neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...survey import Group, Survey
from ...survey import store as stored
from .entries import Entry

_BLOCK = 256
_LEAST = 0.1  # a cosine under which two directions have nothing to do with each other


@dataclass(frozen=True)
class Near:
    """A unit whose direction is near: cosine of both r_n, signed."""

    entry: Entry
    cosine: float


@dataclass(frozen=True)
class Path:
    """A later head that carries a neuron. share: of Var x_n that goes through it (all paths sum to 1); text: of the
    pool the nearest to what it makes of the neuron, and their cosine."""

    head: tuple[int, int]
    share: float
    text: str
    cosine: float


def nearest(survey: Survey, entries: Sequence[Entry], count: int) -> dict[str, dict[str, list[Near]]]:
    """Of every unit, by kind ("head", "neuron", …), the units of largest |cos|, in blocks."""
    if not entries:
        return {}
    directions = torch.cat([_directions(survey, group, some) for group, some in _by_group(entries)])
    units = F.normalize(directions.float(), dim=1)
    kinds = list(dict.fromkeys(entry.kind for entry in entries))
    columns = {kind: torch.tensor([i for i, e in enumerate(entries) if e.kind == kind]) for kind in kinds}
    found: dict[str, dict[str, list[Near]]] = {}
    for start in range(0, len(entries), _BLOCK):
        block = units[start : start + _BLOCK]
        for kind, some in columns.items():
            cosines = block @ units[some].T
            own = torch.arange(start, start + len(block))[:, None] == some[None]
            size = cosines.masked_fill(own, 0).abs()
            best = size.topk(min(count, size.shape[1]), dim=1).indices
            for row in range(len(block)):
                at = entries[start + row].name
                found.setdefault(at, {})[kind] = [
                    Near(entries[int(some[j])], float(cosines[row, j])) for j in best[row] if size[row, j] > _LEAST
                ]
    return found


def _by_group(entries: Sequence[Entry]) -> list[tuple[Group, list[Entry]]]:
    groups: dict[Group, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return list(groups.items())


def _directions(survey: Survey, group: Group, entries: Sequence[Entry]) -> Float[Tensor, "unit embed"]:
    whole = survey.rank_one(group).directions
    return torch.stack([whole[entry.unit.index] for entry in entries])


def paths_of(
    survey: Survey, entries: Sequence[Entry], texts: Mapping[str, Tensor], count: int
) -> dict[str, list[Path]]:
    r"""Of every neuron the later heads that carry most of it: share_p = Cov(c_p ρ_p, x_n) / Var x_n with
    x_n = Σ_p (c_p − c̄_p) ρ_p, ρ = G w."""
    found: dict[str, list[Path]] = {}
    names = list(texts)
    atoms = F.normalize(torch.stack(list(texts.values())), dim=1) if names else None
    for group, some in _by_group([entry for entry in entries if entry.group.kind in ("neurons", "latents")]):
        data = survey.dataset(group)
        columns = [data.attrs["paths"][i].replace(" ", "_") for i in range(len(data.attrs["paths"]))]
        if len(columns) != 2 or columns[0] not in data.coords:
            continue
        heads = list(zip(*(data[column].values.tolist() for column in columns), strict=True))
        rank, covariance = survey.rank_one(group), stored.tensor(data["covariance"])
        reading = rank.reading()[..., 0]
        for start in range(0, len(some), _BLOCK):
            rows = [entry.unit.index[0] for entry in some[start : start + _BLOCK]]
            read = reading[rows]
            each = read * torch.einsum("npq,nq->np", covariance[rows], read)
            share = each / each.sum(dim=1, keepdim=True).clamp(min=1e-30)
            basis = rank.basis.select(rows)
            for row, entry in enumerate(some[start : start + _BLOCK]):
                best = share[row].argsort(descending=True)[:count]
                own = basis.select([row]).dense()[0, best].double() * rank.weights[rows[row], 0, best].sign()[:, None]
                said = _nearest_text(own, atoms)
                found[entry.name] = [
                    Path(
                        (int(heads[int(p)][0]), int(heads[int(p)][1])),
                        float(share[row, p]),
                        names[i] if names else "",
                        c,
                    )
                    for p, (i, c) in zip(best, said, strict=True)
                ]
    return found


def _nearest_text(directions: Tensor, atoms: Tensor | None) -> list[tuple[int, float]]:
    if atoms is None:
        return [(0, 0.0)] * len(directions)
    cosines, indices = (F.normalize(directions, dim=1) @ atoms.T).max(dim=1)
    return [(int(i), float(c)) for i, c in zip(indices, cosines, strict=True)]


def carried_by(
    paths: Mapping[str, Sequence[Path]], entries: Sequence[Entry], count: int
) -> dict[str, list[tuple[Entry, float]]]:
    """The same the other way round: of every head the neurons that go through it most, by importance × share."""
    by_name = {entry.name: entry for entry in entries}
    found: dict[str, list[tuple[Entry, float]]] = {}
    for name, some in paths.items():
        for path in some:
            found.setdefault(f"{path.head[0]}.{path.head[1]}", []).append((by_name[name], path.share))
    return {head: sorted(some, key=lambda item: -item[0].importance * item[1])[:count] for head, some in found.items()}
