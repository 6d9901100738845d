"""Whether a model can be explained exactly, as a result: an alarm where it cannot."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from ...models import Model
from ...models.doctor import examine
from ..columns import Column, Table
from ..result import Result


class Diagnosed(Result):
    """rows: what (an identity), error (how far it is off, as a share of the largest number), allowed (by rounding),
    problem, holds. exact: whether all hold. findings: what in the model could make a sum wrong, in words."""

    command: ClassVar[str] = "doctor"
    exact: bool
    findings: list[str]

    def tables(self) -> list[Table]:
        columns = (
            Column("what", "identity", kind="words"),
            Column("error", "off by", form=".1e"),
            Column("allowed", "rounding", form=".0e"),
            Column("holds", " ", kind="id", form=lambda holds: "holds" if holds else "NO"),
        )
        return [Table(self.rows, columns)]


def doctor(model: Model, pixels: Any = None, text: str | None = None) -> Diagnosed:
    """Every identity that explanations of a model rest on, measured (`models.doctor.examine`)."""
    found = examine(model, pixels, text)
    verdict = "can be explained exactly" if found.exact else "cannot be explained exactly"
    problems = dict.fromkeys(check.problem for check in found.checks if check.problem)
    return Diagnosed(
        [{**asdict(check), "holds": check.holds} for check in found.checks],
        None,
        model=found.model,
        notes=[
            *problems,
            *(f"found: {finding}" for finding in found.findings),
            f"{found.model} ({found.tower}, {found.precision}, {found.device}) {verdict}",
        ],
        alarm=not found.exact,
        tower=found.tower,
        precision=found.precision,
        device=found.device,
        exact=found.exact,
        findings=list(found.findings),
    )
