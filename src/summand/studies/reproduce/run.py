"""Rows of the papers, one after the other: measured, kept, and held against what was published."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...errors import SummandError
from ...models import Model
from ...models.load import load as load_model
from ...progress import Progress
from ...survey.fingerprints import weights_hash
from ..verb import verb
from . import before
from .job import Job
from .kept import Kept, key_of, read, write
from .options import ReproduceOptions
from .registry import ROWS, chosen
from .result import Listed, Reproduced
from .row import Row, Weights


def _usual(weights: Weights) -> Model:
    return load_model(weights.name, weights.tag, device="auto")


@verb(ReproduceOptions)
def reproduce(
    row: str | Sequence[str] = "list",
    model: Model | None = None,
    *,
    options: ReproduceOptions,
    out: str | Path | None = None,
    load: Callable[[Weights], Model] = _usual,
) -> Reproduced | Listed:
    """A table or figure of the three papers by its published protocol: published, measured, difference; or, on scenes,
    whether what the paper says of it holds.

    row: "list", "all", a paper ("A", "B", "C"), or ids such as "C:table3". data: a dict of paths by name, or a list of
    "NAME=PATH". model: in the place of the paper's own. out:
    a folder in which finished rows and surveys are kept and gone on with. load: how the paper's models are loaded.

    Raises `SummandError` before any work for data that are missing or laid out otherwise (with the expected tree), and
    for weights that are neither here nor to be fetched (with their name and where they were looked for). Of several
    rows those are left out whose data were not given.
    """
    if row == "list":
        return Listed([_line(one) for one in ROWS.values()], options)
    wanted = chosen(row)
    folder = None if out is None or Path(out).suffix else Path(out).expanduser()  # a file is the result's alone
    memo: dict[Any, Any] = {}
    jobs = [Job(one, options, load, memo, folder, model) for one in wanted]
    ready, left = _with_data(jobs, alone=len(jobs) == 1)
    fingerprint = "" if model is None else str(weights_hash(model))
    found: list[tuple[Row, Kept]] = []
    with Progress("rows", len(ready), "rows", None if len(ready) > 1 else False) as bar:
        for job in ready:
            found.append((job.row, _one(job, fingerprint)))
            bar.update()
    return Reproduced.of(found, options, left)


def _line(row: Row) -> dict[str, Any]:
    names = ", ".join(dict.fromkeys(weights.name for weights in row.models))
    return {"row": row.id, "what": row.title, "data": ", ".join(row.needs), "models": names}


def _with_data(jobs: list[Job], alone: bool) -> tuple[list[Job], list[str]]:
    """The rows whose data are there, all looked at before any work; and the ids of the others."""
    if jobs[0].scenes:
        return jobs, []
    given = jobs[0].options.places()
    ready = [job for job in jobs if alone or all(name in given for name in job.row.needs)]
    if not ready:
        raise SummandError(
            "none of these rows was given all of its data as --data NAME=PATH (`summand reproduce list` says what each "
            "needs); or try their claims with --on scenes"
        )
    for job in ready:
        for name in job.row.needs:
            job.path(name)
    return ready, [job.row.id for job in jobs if job not in ready]


def _one(job: Job, fingerprint: str) -> Kept:
    key = key_of(job, fingerprint)
    if job.folder is not None and not job.options.again:
        known = read(job.folder, job, key)
        if known is not None:
            return known
    if job.given is None:
        for weights in job.weights:
            before.check_weights(weights, job.row.id)
    clock, processor = time.monotonic(), time.process_time()
    try:
        first = job.model()
    except SummandError as error:
        raise before.explain(job.weights[0], job.row.id, error) from error
    before.announce(job, first)
    found = job.row.measure(job)
    names = tuple(weights.name for weights in job.weights)
    kept = Kept(found, names, time.process_time() - processor, time.monotonic() - clock)
    if job.folder is not None:
        write(job.folder, job, key, kept)
    return kept
