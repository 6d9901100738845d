"""A repaired model, and what the repair does to every group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...errors import listed
from ...models import Model
from ...models.ablations import Ablation, NeuronAblation
from ..ablation.patched import PatchedClassifier
from ..columns import Column, Table
from ..reading import unread
from ..result import Result
from .groups import GroupAccuracy
from .options import DebiasOptions
from .repair import Repair
from .spurious import Suspect

_SHOWN = 12
_FEW = 20
WAYS = ("before", "after", "patched", "random")


class Debiased(Result):
    """Accuracy of every group before and after units were held at their means.

    rows: class, group, images, and the accuracy before, after, patched (the plain model with the patched classifier)
    and random (the best random control by its worst group). summary: the worst group and the averages of every way.
    removed: each unit and why; drawn: the units of each control; unweighted: groups that the training images lack.

    model: the repaired model, to be used at once. ablation: what `summand.load(…, ablation=FILE)` applies; classifier:
    the text classifier that does the like for the plain model. before, after, patched, random: whole tables of groups.
    """

    command: ClassVar[str] = "debias"
    drawn_by: str | None = "summand.report.debias:figure"
    ablation: Ablation | NeuronAblation
    classifier: PatchedClassifier
    before: GroupAccuracy
    after: GroupAccuracy
    patched: GroupAccuracy
    random: tuple[GroupAccuracy, ...]
    removed: list[dict[str, Any]]
    kind: str
    """head or neuron."""
    asked: str
    """The name of the model as it was."""

    @classmethod
    def of(
        cls,
        made: Repair,
        suspects: Sequence[Suspect],
        why: Sequence[str],
        options: DebiasOptions,
        model: Model,
        data: str,
    ) -> Debiased:
        """Of what was measured."""
        mark = "." if isinstance(made.ablation, Ablation) else ":"
        unweighted = [f"{name} / {value}" for name, value in made.before.unweighted]
        found = cls(
            made.rows(),
            options,
            data=data,
            notes=[*unread(made.runs.skipped), *_notes(made, unweighted)],
            drawn=[[f"{layer}{mark}{unit}" for layer, unit in units] for units in made.drawn],
            summary=made.summary(),
            unweighted=unweighted,
            removed=[_removed(suspect, reason) for suspect, reason in zip(suspects, why, strict=True)],
        )
        found.ablation, found.classifier = made.ablation, made.classifier
        found.before, found.after, found.patched, found.random = made.before, made.after, made.patched, made.random
        found.kind, found.asked, found.model = suspects[0].kind, model.name, made.ablation.apply(model)
        return found

    @property
    def best_random(self) -> GroupAccuracy:
        """The control with the best worst group."""
        return max(self.random, key=lambda found: found.worst)

    def record(self) -> dict[str, Any]:
        repaired, self.model = self.model, self.asked
        try:
            return super().record()
        finally:
            self.model = repaired

    def __repr__(self) -> str:
        what = f"{len(self.removed)} {self.kind}s removed, {len(self.rows)} groups"
        return f"<Debiased: {what}, {self.data}, {self.asked}>"

    def tables(self) -> list[Table]:
        why = pd.DataFrame(self.removed[:_SHOWN])
        more = len(self.removed) - _SHOWN
        units = Table(
            why, (Column("unit", kind="id"), Column("why", kind="words")),
            caption=f"and {more} more {self.kind}s" if more > 0 else "",
        )  # fmt: skip
        return [units, self._groups()]

    def _groups(self) -> Table:
        worst = self.rows.sort_values("before", kind="stable")
        shown = [
            {"who": f"{row['class']} / {row['group']}", **{key: row[key] for key in ("images", *WAYS)}}
            for row in worst.head(_SHOWN).to_dict("records")
        ]
        if len(worst) > _SHOWN:
            shown.append({"who": f"… {len(worst) - _SHOWN} more groups"})
        tables = dict(zip(WAYS, (self.before, self.after, self.patched, self.best_random), strict=True))
        averages = {
            "worst group": lambda found: found.worst,
            **({"worst quarter of the groups": lambda found: found.lowest(0.25)} if len(worst) > 8 else {}),
            "all groups alike": lambda found: found.balanced,
            "train-weighted": lambda found: found.weighted,
        }
        shown += [{"who": name, **{way: get(found) for way, found in tables.items()}} for name, get in averages.items()]
        titles = {"patched": "patched texts", "random": f"best of {len(self.random)} random"}
        columns = (
            Column("who", "group", kind="words"),
            Column("images", form=".0f"),
            *(Column(way, titles.get(way, way), form=_percent) for way in WAYS),
        )
        title = f"Accuracy, % ({len(self.removed)} {self.kind}s removed)"
        return Table(pd.DataFrame(shown), columns, title)

    def save_more(self, folder: Path) -> dict[str, Path]:
        places = {"ablation": folder / "ablation.npz", "classifier": folder / "classifier.npz"}
        self.save_arrays(places["ablation"])
        self.classifier.save(places["classifier"])
        return places

    def save_arrays(self, path: Path) -> dict[str, Path]:
        """The ablation alone, for `summand.load(…, ablation=path)`."""
        self.ablation.save(path)
        return {"ablation": path}


def _removed(suspect: Suspect, reason: str) -> dict[str, Any]:
    shares = {"attribute": suspect.attribute, "classes": suspect.classes, "carries": suspect.carries}
    return {"unit": suspect.name, **shares, "texts": suspect.texts, "matched": suspect.matched, "why": reason}


def _notes(made: Repair, unweighted: Sequence[str]) -> list[str]:
    found = []
    if unweighted:
        left = "it" if len(unweighted) == 1 else "them"
        found.append(
            f"not in the training images: {listed(unweighted, most=6)}; train-weighted accuracy leaves {left} out"
        )
    smallest = min(row["images"] for row in made.rows())
    if smallest < _FEW:
        found.append(f"the smallest group has {smallest} image(s): the accuracy of the worst one is hardly known")
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
