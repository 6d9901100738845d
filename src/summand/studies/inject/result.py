"""Heads that were strengthened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...models import Model
from ...models.ablations import Steering
from ..columns import Column, Table
from ..debias.spurious import Suspect
from ..result import Result
from .options import InjectOptions

_NOTHING = (
    "with a gain of 1 nothing is strengthened. Unlabelled images cannot tell how much helps: hold labelled ones out "
    "and compare a few gains on them, such as 1.25, 1.5 and 2"
)


class Injected(Result):
    """A model whose heads of the class are strengthened.

    rows: unit, classes and attribute (shares of the head's variance along their texts), carries (its share of what all
    heads vary along the classes), gain. steer: what `load(steer=…)` and --steer take, beside the ablation that the
    model had; steered: the model, to be used at once. A folder as place holds steering.npz for `load(ablation=…)`.
    """

    command: ClassVar[str] = "inject"
    steer: str
    steered: Model
    _made: Steering

    @classmethod
    def of(
        cls,
        model: Model,
        steered: Model,
        found: Sequence[Suspect],
        steer: Mapping[str, float],
        options: InjectOptions,
        data: str,
    ) -> Injected:
        """Of the heads that were chosen; in a `Suspect` the classes stand in the attribute's place here."""
        rows: list[dict[str, Any]] = [
            {"unit": one.name, "classes": one.attribute, "attribute": one.classes, "carries": one.carries,
             "gain": options.gain} for one in found
        ]  # fmt: skip
        said = ",".join(f"{unit}={factor:g}" for unit, factor in steer.items())
        notes = [_NOTHING] if options.gain == 1 else []
        made = cls(rows, options, model=model.name, data=data, notes=notes, steer=said)
        made.steered, made._made = steered, Steering.of(model, steer)
        return made

    def tables(self) -> list[Table]:
        columns = (
            Column("unit", "head", kind="id"),
            Column("classes", "of its variance: classes", form=".0%"),
            Column("attribute", form=".0%"),
            Column("carries", "of all of the classes", form=".0%"),
            Column("gain", form="g"),
        )
        return [Table(self.rows, columns, caption=f"--steer {self.steer}")]

    def save_more(self, folder: Path) -> dict[str, Path]:
        self._made.save(folder / "steering.npz")
        return {"steering": folder / "steering.npz"}

    def save_arrays(self, path: Path) -> dict[str, Path]:
        """The steering alone, for `summand.load(…, ablation=path)`."""
        self._made.save(path)
        return {"steering": path}
