"""A repaired model, and what the repair does to every group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...errors import SummandError, listed
from ...models import Model
from ..ablation.patched import PatchedClassifier
from ..columns import Column, Table
from ..reading import unread
from ..result import Result
from .choice import Choice
from .groups import GroupAccuracy
from .options import DebiasOptions, Way, read_units
from .repair import Edit, Repair, best
from .spurious import Suspect
from .ways import in_short

_SHOWN = 12
_FEW = 20
WAYS = ("before", "after", "patched", "random")


class Debiased(Result):
    """Accuracy of every group before and after what carries an attribute was removed.

    rows: class, group, images, and the accuracy before, after, patched (the plain model with the patched classifier)
    and random (the best random control by its worst group). summary: the worst group and the averages of every way.
    way: the one that was taken, None where no shortcut was found and nothing was changed. leaks: of every way, how much
    the attribute moves the classes' scores on held-out unlabelled images, by which the way was chosen; strengths: how
    far the scores follow what a way removes, with the error. removed: each unit and why; drawn: the units of each
    control; unweighted: groups that the training images lack.

    model: the repaired model, to be used at once. ablation: what `summand.load(…, ablation=FILE)` applies, None where
    nothing was changed; classifier: the text classifier that does the like for the plain model. before, after, patched,
    random: whole tables of groups.
    """

    command: ClassVar[str] = "debias"
    drawn_by: str | None = "summand.report.debias:figure"
    ablation: Edit | None
    classifier: PatchedClassifier
    before: GroupAccuracy
    after: GroupAccuracy
    patched: GroupAccuracy
    random: tuple[GroupAccuracy, ...]
    ways: dict[Way, GroupAccuracy]
    way: Way | None
    leaks: dict[str, float]
    strength: float
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
        choice: Choice | None = None,
        strength: float = 1.0,
    ) -> Debiased:
        """Of what was measured."""
        kind = read_units(options.units).kind
        mark = "." if kind == "head" else ":"
        unweighted = [f"{name} / {value}" for name, value in made.before.unweighted]
        found = cls(
            made.rows(),
            options,
            data=data,
            notes=[*unread(made.runs.skipped), *_chosen(made, choice, kind), *_notes(made, unweighted)],
            way=made.way,
            strength=strength,
            leaks=choice.leaks if choice else {},
            strengths=choice.strengths if choice else {},
            drawn=[[f"{layer}{mark}{unit}" for layer, unit in units] for units in made.drawn],
            summary=made.summary(),
            unweighted=unweighted,
            removed=[_removed(suspect, reason) for suspect, reason in zip(suspects, why, strict=True)],
        )
        found.ablation, found.classifier = made.ablation, made.classifier
        found.before, found.after, found.patched, found.random = made.before, made.after, made.patched, made.random
        found.ways, found.kind, found.asked = made.ways, kind, model.name
        found.model = model if made.ablation is None else made.ablation.apply(model)
        return found

    @property
    def best_random(self) -> GroupAccuracy | None:
        """The control with the best worst group, None where there was nothing to draw."""
        return best(self.random)

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
        return [*([units] if self.removed else []), *([self._ways()] if len(self.ways) > 1 else []), self._groups()]

    @property
    def title(self) -> str:
        """What was done, in short."""
        if self.way is None:
            return "no shortcut found, nothing changed"
        if self.way == "units":
            return f"{len(self.removed)} {self.kind}s removed"
        short = in_short(self.way, self.kind, self.strength)
        return short if not self.removed else f"{len(self.removed)} {short}"

    def _ways(self) -> Table:
        """Every way beside each other."""
        ways = [(str(way), in_short(way, self.kind, self.strength), table) for way, table in self.ways.items()]
        random = f"best of {len(self.random)} random"
        lines = [("before", "as it is", self.before), *ways, ("", random, self.best_random)]
        rows = [
            {
                "way": f"{'→' if name == (self.way or 'before') else ' '} {said}",
                "leak": self.leaks.get(name),
                **{key: get(table) for key, get in _AVERAGES.items()},
            }
            for name, said, table in [*lines, ("", "patched texts", self.patched)]
            if table is not None
        ]
        columns = (
            Column("way", kind="id"),
            *(Column(key, form=_percent) for key in _AVERAGES),
            Column("leak", form=_percent),
        )
        caption = (
            "leak: how far the attribute moves the classes' scores, the class held, on held-out unlabelled images, % "
            "of their variance between classes; the way (→) is chosen by it, never by groups"
        )
        return Table(pd.DataFrame(rows), columns, "Ways to remove it: accuracy, %", caption)

    def _groups(self) -> Table:
        worst = self.rows.sort_values("before", kind="stable")
        ways = [way for way in WAYS if way != "random" or self.random]
        shown = [
            {"who": f"{row['class']} / {row['group']}", **{key: row[key] for key in ("images", *ways)}}
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
        shown += [
            {"who": name, **{way: get(found) for way, found in tables.items() if found is not None}}
            for name, get in averages.items()
        ]
        titles = {"patched": "patched texts", "random": f"best of {len(self.random)} random"}
        columns = (
            Column("who", "group", kind="words"),
            Column("images", form=".0f"),
            *(Column(way, titles.get(way, way), form=_percent) for way in ways),
        )
        return Table(pd.DataFrame(shown), columns, f"Accuracy, % ({self.title})")

    def save_more(self, folder: Path) -> dict[str, Path]:
        places = {"ablation": folder / "ablation.npz", "classifier": folder / "classifier.npz"}
        if self.ablation is None:
            return {}
        self.ablation.save(places["ablation"])
        self.classifier.save(places["classifier"])
        return places

    def save_arrays(self, path: Path) -> dict[str, Path]:
        """The ablation alone, for `summand.load(…, ablation=path)`. Raises `SummandError` where nothing was changed."""
        if self.ablation is None:
            raise SummandError("no shortcut was found, so nothing was changed and there is nothing to save")
        self.ablation.save(path)
        return {"ablation": path}


def _removed(suspect: Suspect, reason: str) -> dict[str, Any]:
    shares = {"attribute": suspect.attribute, "classes": suspect.classes, "carries": suspect.carries}
    return {"unit": suspect.name, **shares, "texts": suspect.texts, "matched": suspect.matched, "why": reason}


_AVERAGES: dict[str, Callable[[GroupAccuracy], float]] = {
    "worst group": lambda found: found.worst,
    "all alike": lambda found: found.balanced,
    "weighted": lambda found: found.weighted,
}


def _chosen(made: Repair, choice: Choice | None, kind: str) -> list[str]:
    found = []
    if made.way is None:
        images = choice.images if choice else 0
        found.append(
            f"no shortcut found: on {images} held-out unlabelled images the classes' scores do not follow the "
            f"attribute beyond chance; nothing was changed"
        )
    if made.drawn and "units" in made.ways and choice is not None:
        size = len(made.drawn[0])
        found += [f"each random control removes the {size} {kind}(s) that are left"] if len(made.drawn) == 1 else []
    if not made.drawn and "units" in made.ways:
        found.append(f"no random control: every {kind} is removed")
    return found


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
