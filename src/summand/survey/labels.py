"""The table of labels: every unit of a survey in words, and what the words are worth."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError, SummandWarning
from ..models.readable import readable
from ..text.evidence import DRAWS, Evidence, evidence
from ..text.labels import named_attribute
from ..text.pools import Pool
from ..text.pools import pool as pool_of
from ..text.sparse import prepare_atoms
from ..towers.precision import doubled
from .describe import Descriptions, describe
from .shelf import LABELS
from .survey import Survey
from .units import SINGULAR, Group

LEAST_HELD_OUT = 20
"""Held-out images under which no score is given."""


def label(
    survey: Survey,
    pool: str | Path | Pool | Sequence[str] | None = None,
    *,
    size: int = 10,
    most: int | None = None,
    draws: int | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Every unit in words (see `Survey.label`); the table is kept in the survey."""
    model = survey.model
    chosen = described(model, pool)
    size = min(size, max(1, len(chosen.texts) // 2))  # more leave no random ones to compare with
    embeddings = model.encode_text(chosen.texts, progress=bool(progress))
    table = label_run(survey, chosen.texts, embeddings, size, most=most, draws=draws or DRAWS, progress=progress)
    survey.shelf.put_table(LABELS, table)
    return table


def described(model: Any, pool: str | Path | Pool | Sequence[str] | None) -> Pool:
    """A description pool, without the lines that the model cannot read, which a warning counts."""
    pool = pool if isinstance(pool, Pool) else pool_of(model.world.pool if pool is None else pool)
    kept, left = readable(pool, model._tokenizer)
    if left:
        warnings.warn(
            f"{len(left)} of {len(pool.texts):,} descriptions of {pool.name} were skipped, the first for this: "
            f"{left[0].reason[:200]}",
            SummandWarning,
            stacklevel=3,
        )
    return kept


def label_run(
    run: Survey,
    texts: Sequence[str],
    embeddings: Float[Tensor, "text embed"],
    size: int,
    *,
    most: int | None = None,
    draws: int = DRAWS,
    progress: bool | None = False,
) -> pd.DataFrame:
    """One row a unit, in the order of the survey's groups. docs/runs.md lists the columns."""
    if embeddings.shape[1] != run.embeddings.shape[1]:
        raise SummandError(
            f"the texts have {embeddings.shape[1]} dimensions, this run {run.embeddings.shape[1]}; embed them with the "
            f"model of the run, {run.manifest.model}"
        )
    held = torch.tensor(run.images["held_out"].to_numpy(), dtype=torch.bool)
    centred = doubled(run.embeddings)[held] - run.centre
    atoms = prepare_atoms(embeddings.cpu().double())
    tables = []
    for group in run.groups:
        found = describe(run, group, embeddings.cpu(), size, most, bool(progress))
        rank, scores = run.rank_one(group), None
        columns = torch.from_numpy(np.ravel_multi_index(np.array(found.units).T, rank.basis.shape[:-2]))
        if int(held.sum()) >= LEAST_HELD_OUT:
            signal = run.held_out(group).flatten(1)[:, columns]
            said = (found.targets, found.indices, found.weights)
            scores = evidence(signal, centred, *said, atoms, draws=draws, progress=progress)
        carried = rank.explained[..., 0].flatten()[columns]
        tables.append(pd.DataFrame(_rows(group, found, scores, texts, carried)))
    table = pd.concat(tables, ignore_index=True)
    return table.astype({"layer": "Int64", "head": "Int64", "neuron": "Int64"})


def _rows(
    group: Group, found: Descriptions, scores: Evidence | None, texts: Sequence[str], carried: Tensor
) -> Iterator[dict]:
    for row, index in enumerate(found.units):
        used = [(int(i), float(w)) for i, w in zip(found.indices[row], found.weights[row], strict=True) if i >= 0]
        chosen = [texts[i] for i, _ in used]
        explained = None if found.explained is None else found.explained[row, : len(used)].tolist()
        numbers = dict(zip(("neuron",) if len(index) == 1 else _AXES[group.kind], index, strict=True))
        shares = explained or list(np.cumsum([weight**2 for _, weight in used]))
        yield {
            "kind": SINGULAR[group.kind],
            "unit": group.unit(index),
            "layer": numbers.get("layer", group.layer),
            "head": numbers.get("head"),
            "neuron": numbers.get("neuron"),
            "importance": float(found.importance[row]),
            "variance": float(carried[row]),
            "texts": chosen,
            "weights": [weight for _, weight in used],
            "explained": explained,
            "cosine": float(found.cosine[row]),
            "attribute": named_attribute(chosen, shares),
            "correlation": _number(scores and scores.score.correlation[row]),
            "auc": _number(scores and scores.score.auc[row]),
            "own_correlation": _number(scores and scores.own.correlation[row]),
            "random_correlation": _number(scores and scores.random.correlation[row]),
            "random_auc": _number(scores and scores.random.auc[row]),
            "random_limit": _number(scores and scores.threshold[row]),
            "evidence": _verdict(scores, row),
        }


_AXES = {"heads": ("layer", "head"), "pairs": ("neuron", "head")}


def _verdict(scores: Evidence | None, row: int) -> bool | None:
    """None where nothing was scored, or the unit does not vary on the held-out images."""
    tested = scores is not None and not scores.score.correlation[row].isnan()
    return bool(scores.supported[row]) if scores is not None and tested else None


def _number(value: Tensor | None) -> float | None:
    return None if value is None or not torch.isfinite(value) else float(value)


def write_labels(run: Survey, table: pd.DataFrame) -> tuple[Path, Path]:
    """labels.parquet, and labels.csv with lists as JSON, in the survey's folder; both replaced in one step."""
    if run.path is None:
        raise SummandError("this survey is in memory; survey.save(folder) writes it with its labels")
    run.shelf.put_table(LABELS, table)
    return run.path / f"{LABELS}.parquet", run.path / f"{LABELS}.csv"
