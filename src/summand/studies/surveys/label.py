"""Every unit of a survey in words, as a result."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...models.readable import refuse_unknown
from ...survey.labels import kinds_of, label_run, write_labels
from ...survey.survey import Survey
from ...survey.terms import term_shares
from ...text.pools import pool
from ..given import readable_pool
from .options import LabelOptions
from .result import Labelled


def label(survey: Survey, options: LabelOptions, model: Any = None) -> Labelled:
    """`survey.label`, with what must be said of it; in a folder labels.parquet and labels.csv are written beside it."""
    model = survey.model if model is None else model
    name = options.pool or model.world.pool
    chosen, notes = readable_pool(model, name)
    refuse_unknown(pool(name), chosen)
    size = min(options.size, max(1, len(chosen.texts) // 2))
    if size < options.size:
        notes.append(f"{options.size} of {len(chosen.texts)} texts leave no random ones to compare with; using {size}")
    embeddings = model.encode_text(chosen.texts)
    properties = kinds_of(chosen)
    table = label_run(survey, chosen.texts, embeddings, size, properties=properties, most=options.most, progress=None)
    files = [str(path) for path in write_labels(survey, table)]
    if survey.manifest.random_init:
        notes.append("the weights are RANDOM: these labels mean nothing")
    rows = table.astype(object).where(table.notna(), None)
    terms = term_shares(survey, embeddings)
    return Labelled(
        rows, options, model=model.name, data=survey.manifest.source, notes=notes, pool=chosen.name, files=files,
        along_texts=None if terms is None else {**asdict(terms), "said": str(terms)},
    )  # fmt: skip
