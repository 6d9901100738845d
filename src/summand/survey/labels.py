"""The table of labels: every unit of a run in words, and what the words are worth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ..atomic import replacing
from ..errors import SummandError
from ..text.labels import named_attribute
from .describe import Descriptions, describe
from .run import LABELS, Run
from .score import DRAWS, Scores, score
from .units import SINGULAR, Group

LEAST_HELD_OUT = 20
"""Held-out images under which no score is given."""


def label_run(
    run: Run,
    texts: Sequence[str],
    embeddings: Float[Tensor, "text embed"],
    size: int,
    *,
    most: int | None = None,
    draws: int = DRAWS,
    progress: bool = False,
) -> pd.DataFrame:
    """One row a unit, in the order of the run's groups; `write_labels` keeps it. docs/runs.md lists the columns."""
    if embeddings.shape[1] != run.embeddings.shape[1]:
        raise SummandError(
            f"the texts have {embeddings.shape[1]} dimensions, this run {run.embeddings.shape[1]}; embed them with the "
            f"model of the run, {run.manifest.model}"
        )
    images = run.images
    held = torch.tensor(images["held_out"].to_numpy(), dtype=torch.bool)
    outputs = run.embeddings.double()
    centred = outputs[held] - outputs[~held].mean(dim=0)
    tables = []
    for group in run.groups:
        found = describe(run, group, embeddings.cpu(), size, most, progress)
        rank, scores = run.rank_one(group), None
        columns = torch.from_numpy(np.ravel_multi_index(np.array(found.units).T, rank.basis.shape[:-2]))
        if int(held.sum()) >= LEAST_HELD_OUT:
            signal = run.held_out(group).flatten(1)[:, columns]
            scores = score(found, signal, centred, embeddings.cpu(), draws, progress=progress)
        carried = rank.explained[..., 0].flatten()[columns]
        tables.append(pd.DataFrame(_rows(group, found, scores, texts, carried)))
    table = pd.concat(tables, ignore_index=True)
    return table.astype({"layer": "Int64", "head": "Int64", "neuron": "Int64"})


def _rows(
    group: Group, found: Descriptions, scores: Scores | None, texts: Sequence[str], carried: Tensor
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
            "correlation": _number(scores and scores.correlation[row]),
            "auc": _number(scores and scores.auc[row]),
            "own_correlation": _number(scores and scores.own[row]),
            "random_correlation": _number(scores and scores.random_correlation[row]),
            "random_auc": _number(scores and scores.random_auc[row]),
            "random_limit": _number(scores and scores.limit[row]),
            "evidence": _verdict(scores, row),
        }


_AXES = {"heads": ("layer", "head"), "pairs": ("neuron", "head")}


def _verdict(scores: Scores | None, row: int) -> bool | None:
    """None where nothing was scored, or the unit does not vary on the held-out images."""
    tested = scores is not None and not scores.correlation[row].isnan()
    return bool(scores.evidence[row]) if scores is not None and tested else None


def _number(value: Tensor | None) -> float | None:
    return None if value is None or not torch.isfinite(value) else float(value)


def write_labels(run: Run, table: pd.DataFrame) -> tuple[Path, Path]:
    """labels.parquet, and labels.csv with lists as JSON; both replaced in one step."""
    parquet, csv = run.path / LABELS, run.path / "labels.csv"
    flat = table.copy()
    for column in ("texts", "weights", "explained"):
        flat[column] = [None if value is None else json.dumps(list(value)) for value in flat[column]]
    for path, write in ((parquet, table.to_parquet), (csv, flat.to_csv)):
        with replacing(path) as temporary:
            write(temporary, index=False)
    return parquet, csv
