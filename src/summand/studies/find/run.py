"""Units by a text or an image, and where a reviewer of all units should look."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from ...errors import SummandError
from ...survey.audit import audit as audited
from ...survey.search import find as search
from ...survey.survey import Survey
from ..verb import OptionError, verb
from .options import FindOptions
from .result import Audit, Found


@verb(FindOptions)
def find(survey: Survey, query: Any = None, *, options: FindOptions) -> Found | Audit:
    """The units whose r_n is nearest to a query, or whose effects it predicts best (`survey.find`); with audit=True all
    units as a reviewer looks at them (`survey.audit`).

    Raises `SummandError` for a query that is neither a text nor a picture, and for a query and an audit at once.
    """
    made = survey.manifest
    if options.audit:
        if query is not None:
            raise OptionError("audit", f"looks at all units; leave the query {query!r} out, or leave audit=True out")
        table, limits = audited(survey, options.most)
        return Audit(
            table.assign(look=[looked(row) for row in table.to_dict("records")]), options, model=made.model,
            data=made.source, limits=limits, units=len(table), of=len(survey.units), counts=counts_of(table),
        )  # fmt: skip
    if query is None:
        raise SummandError("say what is looked for: a text or a picture; or audit=True for all units")
    table = search(survey, query, options.top, options.by)
    said = str(query) if isinstance(query, (str, os.PathLike)) else "a picture"
    notes = [] if "predicts" in table else ["no evidence: too few images were kept aside; ranked by cosine alone"]
    source = None
    try:
        source = survey.source()
    except SummandError as error:
        notes.append(f"no pictures: {error}")
    return Found(
        table, options, model=made.model, data=made.source, survey=survey, source=source, query=said, notes=notes,
        units=len(survey.units),
    )  # fmt: skip


def looked(row: dict[str, Any]) -> list[str]:
    """Why a reviewer should look at a unit; empty where nothing is the matter."""
    alone = [] if row["clear"] else ["its images have nothing in common"]
    reasons = ["two things"] if row["several"] else alone
    reasons += [f"does what {row['twin']} does"] if row["redundant"] else []
    return reasons


def counts_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Of every kind the share of its units that are clear, of several things, redundant, and proven words."""
    found = []
    for kind in dict.fromkeys(table["kind"]):
        some = table[table["kind"] == kind]
        shares = {name: float(np.mean(some[name])) for name in ("clear", "several", "redundant")}
        proven = float(np.mean(some["verdict"] == "proven")) if "verdict" in some else None
        clarity = float(np.median(some["clarity"]))
        found.append({"kind": kind, "units": len(some), "clarity": clarity, **shares, "proven": proven})
    return found
