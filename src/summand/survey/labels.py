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
from ..models.readable import readable, refuse_unknown
from ..text.evidence import DRAWS, Evidence, evidence
from ..text.kinds import values_of_pool
from ..text.pools import Pool
from ..text.pools import pool as pool_of
from ..text.properties import property_of
from ..text.sparse import prepare_atoms
from ..towers.precision import doubled
from .describe import Descriptions, describe
from .shelf import LABELS
from .survey import Survey
from .unit_words import Words, keep_directions
from .units import SINGULAR, Group
from .words import Readings, words_of_units

LEAST_HELD_OUT = 20
"""Held-out images under which no score is given."""
SIZE = 3
"""Texts a unit, and words an end at most: more fit anything, and so prove nothing."""


def label(
    survey: Survey,
    pool: str | Path | Pool | Sequence[str] | None = None,
    *,
    size: int = SIZE,
    most: int | None = None,
    draws: int | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Every unit in words (see `Survey.label`); the table is kept in the survey."""
    model = survey.model
    chosen = described(model, pool, refuse=True)
    size = min(size, max(1, len(chosen.texts) // 2))  # more leave no random ones to compare with
    embeddings = model.encode_text(chosen.texts, progress=bool(progress))
    more = {"most": most, "draws": draws or DRAWS, "progress": progress}
    table = label_run(survey, chosen.texts, embeddings, size, properties=kinds_of(chosen), **more)
    survey.shelf.put_table(LABELS, table)
    return table


def described(model: Any, pool: str | Path | Pool | Sequence[str] | None, refuse: bool = False) -> Pool:
    """A description pool, without the lines that the model cannot read, which a warning counts. refuse: raise
    `SummandError` where these are more than half of it."""
    pool = pool if isinstance(pool, Pool) else pool_of(model.world.pool if pool is None else pool)
    kept, left = readable(pool, model._tokenizer)
    if refuse:
        refuse_unknown(pool, kept)
    if left:
        warnings.warn(
            f"{len(left)} of {len(pool.texts):,} descriptions of {pool.name} were skipped, the first for this: "
            f"{left[0].reason[:200]}",
            SummandWarning,
            stacklevel=3,
        )
    return kept


def kinds_of(pool: Pool) -> list[str | None]:
    """The property of each text, among whose values it competes: what its pool says, else `property_of` it."""
    return [property_of(text, pool) for text in pool.texts]


def label_run(
    run: Survey,
    texts: Sequence[str],
    embeddings: Float[Tensor, "text embed"],
    size: int,
    *,
    properties: Sequence[str | None] = (),
    most: int | None = None,
    draws: int = DRAWS,
    progress: bool | None = False,
) -> pd.DataFrame:
    """One row a unit, in the order of the survey's groups. docs/runs.md lists the columns.

    properties: the kind of each text, within which it competes [default: `property_of` it].
    """
    if embeddings.shape[1] != run.embeddings.shape[1]:
        raise SummandError(
            f"the texts have {embeddings.shape[1]} dimensions, this run {run.embeddings.shape[1]}; embed them with the "
            f"model of the run, {run.manifest.model}"
        )
    held = torch.tensor(run.images["held_out"].to_numpy(), dtype=torch.bool)
    tested = int(held.sum()) >= LEAST_HELD_OUT
    centred = doubled(run.embeddings)[held] - run.centre
    embeddings = embeddings.cpu()
    values = values_of_pool(texts, embeddings.double(), properties)
    readings = Readings.of(run, values) if tested else None
    firsts = [members[0] for members in values.members]
    rows: list[dict[str, Any]] = []
    for group in run.groups:
        # TextSpan is as the paper has it, over all texts; codes are of texts that differ
        own = list(range(len(texts))) if group.kind == "heads" else firsts
        found = describe(run, group, embeddings[own], min(size, len(own)), most, bool(progress))
        rank, scores = run.rank_one(group), None
        columns = torch.from_numpy(np.ravel_multi_index(np.array(found.units).T, rank.basis.shape[:-2]))
        words = [Words(()) for _ in found.units]
        if readings is not None:
            signal = run.held_out(group).flatten(1)[:, columns]
            said = (found.targets, found.indices, found.weights)
            atoms = prepare_atoms(embeddings[own].double())
            scores = evidence(signal, centred, *said, atoms, draws=draws, progress=progress)
            words, directions = words_of_units(run, group, readings, found.units, size)
            if directions is not None:
                keep_directions(run, group, directions)
        carried = rank.explained[..., 0].flatten()[columns]
        rows += _rows(group, found, scores, words, [texts[i] for i in own], carried)
    return pd.DataFrame(rows).astype({"layer": "Int64", "head": "Int64", "neuron": "Int64"})


def _rows(
    group: Group,
    found: Descriptions,
    scores: Evidence | None,
    words: Sequence[Words],
    texts: Sequence[str],
    carried: Tensor,
) -> Iterator[dict[str, Any]]:
    for row, index in enumerate(found.units):
        used = [(int(i), float(w)) for i, w in zip(found.indices[row], found.weights[row], strict=True) if i >= 0]
        chosen = [texts[i] for i, _ in used]
        explained = None if found.explained is None else found.explained[row, : len(used)].tolist()
        numbers = dict(zip(("neuron",) if len(index) == 1 else _AXES[group.kind], index, strict=True))
        called = words[row]
        spoken = any(end.words for end in called.ends) or not chosen
        first = next((end for end in called.ends if end.proven), None)
        yield {
            "kind": SINGULAR[group.kind],
            "unit": group.unit(index),
            "layer": numbers.get("layer", group.layer),
            "head": numbers.get("head"),
            "neuron": numbers.get("neuron"),
            "importance": float(found.importance[row]),
            "variance": float(carried[row]),
            "label": called.text if spoken else f"{chosen[0]} ({called.verdict})",
            "words": called.proven,
            "verdict": called.verdict,
            "evidence": {"proven": True, "not proven": False}.get(called.verdict),
            "attribute": called.kind,
            "properties": [{"property": kind, "share": share} for kind, share in called.shares],
            "named": called.named,
            "clusters": called.clusters,
            "shown": first and first.shown,
            "chance": first and first.chance,
            "agreement": first and first.agreement,
            "poles": called.rows(),
            "texts": chosen,
            "weights": [weight for _, weight in used],
            "explained": explained,
            "cosine": float(found.cosine[row]),
            "correlation": _number(scores and scores.score.correlation[row]),
            "auc": _number(scores and scores.score.auc[row]),
            "own_correlation": _number(scores and scores.own.correlation[row]),
            "random_correlation": _number(scores and scores.random.correlation[row]),
            "random_auc": _number(scores and scores.random.auc[row]),
            "random_limit": _number(scores and scores.threshold[row]),
            "fits": _fits(scores, row),
        }


_AXES = {"heads": ("layer", "head"), "pairs": ("neuron", "head")}


def _fits(scores: Evidence | None, row: int) -> bool | None:
    """Whether the texts are better than random ones, fitted as well; None where nothing was scored, or the unit does
    not vary on the held-out images."""
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
