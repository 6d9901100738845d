"""Whether a model can be explained exactly, and what is installed, as a result: an alarm where something is wrong."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

import pandas as pd

from ...models import Model
from ...models.doctor import examine
from ..columns import Column, Table
from ..result import Result
from .installation import installation


class Diagnosed(Result):
    """rows: what (an identity), error (how far it is off, as a share of the largest number), allowed (by rounding),
    problem, holds. exact: whether all hold. findings: what in the model could make a sum wrong, in words.
    installation: what, value and problem of everything that is installed, where it was asked for."""

    command: ClassVar[str] = "doctor"
    exact: bool
    findings: list[str]
    installation: list[dict[str, str]]

    def tables(self) -> list[Table]:
        columns = (
            Column("what", "identity", kind="words"),
            Column("error", "off by", form=".1e"),
            Column("allowed", "rounding", form=".0e"),
            Column("holds", " ", kind="id", form=lambda holds: "holds" if holds else "NO"),
        )
        shown = [Table(self.rows, columns)]
        if self.installation:
            facts = (Column("what", "installation", kind="id"), Column("value", " ", kind="words"))
            shown.insert(0, Table(pd.DataFrame(self.installation), facts))
        return shown


def doctor(model: Model, pixels: Any = None, text: str | None = None, *, surroundings: bool = False) -> Diagnosed:
    """Every identity that explanations of a model rest on, measured (`models.doctor.examine`).

    surroundings: also what is installed here, and what is wrong with it.
    """
    found = examine(model, pixels, text)
    facts = installation() if surroundings else []
    verdict = "can be explained exactly" if found.exact else "cannot be explained exactly"
    problems = dict.fromkeys(one.problem for one in (*facts, *found.checks) if one.problem)
    return Diagnosed(
        [{**asdict(check), "holds": check.holds} for check in found.checks],
        None,
        model=found.model,
        notes=[
            *problems,
            *(f"found: {finding}" for finding in found.findings),
            f"{found.model} ({found.tower}, {found.precision}, {found.device}) {verdict}",
        ],
        alarm=not found.exact or any(fact.problem for fact in facts),
        tower=found.tower,
        precision=found.precision,
        device=found.device,
        exact=found.exact,
        findings=list(found.findings),
        installation=[asdict(fact) for fact in facts],
    )
