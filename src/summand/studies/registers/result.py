"""What `registers` found."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from ..columns import Column, Table
from ..result import Result
from .find import Found
from .options import RegistersOptions

_WAYS = {
    "as it is": "",
    "at zero": "zeroed",
    "moved to a register": "moved",
    "random neurons at zero": "random",
}


class Registers(Result):
    """The neurons that make a model's sink, the strongest first, and what becomes of it without them.

    rows: neuron, score (what it does to the sink). sink: whether there is one; without it there are no rows. measure:
    what its strength is of. share: of the pooled attention on patches that rests on it; of a stream of tokens, of the
    images that have one. at: its (row, column), where that is the same in every image. changes: way → the sink's
    strength, and the cosine of the outputs with the model's own; None where a way was not gone. found: all of it.
    """

    command: ClassVar[str] = "registers"
    sink: bool
    measure: str
    share: float
    at: tuple[int, int] | None
    changes: dict[str, dict[str, float | None]]

    def __init__(self, found: Found, options: RegistersOptions, **more: Any) -> None:
        rows = pd.DataFrame(
            [
                {"neuron": f"{layer}:{neuron}" if found.patch is None else str(neuron), "score": score}
                for (layer, neuron), score in zip(found.neurons, found.scores, strict=True)
            ],
            columns=["neuron", "score"],
        )
        known = {"sink": found.there, "measure": found.measure, "share": found.share, "at": found.patch}
        super().__init__(rows, options, **known, changes=_changes(found), **more)
        self.found = found

    def tables(self) -> list[Table]:
        where = "" if self.at is None else f"; row {self.at[0]}, column {self.at[1]}, both from 0"
        strength = self.changes["as it is"]["strength"]
        said = f"{self.measure}: {strength:.2f} (a sink from {self.options.ratio:g} on{where})"
        if not self.sink:
            none = pd.DataFrame({"said": [said, "There is no sink, so there are no register neurons."]})
            return [Table(none, [Column("said", kind="words")], plain=True)]
        gone = [{"way": way, **values} for way, values in self.changes.items() if values["strength"] is not None]
        ways = (
            Column("way", "these neurons", kind="words"),
            Column("strength", "sink", form=".2f"),
            Column("cosine", "cosine with the model's own output", form=".3f"),
        )
        neurons = (Column("neuron", kind="id"), Column("score", form=".3g"))
        return [Table(pd.DataFrame(gone), ways, said), Table(self.rows, neurons)]


def _changes(found: Found) -> dict[str, dict[str, float | None]]:
    changes: dict[str, dict[str, float | None]] = {"as it is": {"strength": found.strength, "cosine": 1.0}}
    for way, name in list(_WAYS.items())[1:]:
        changes[way] = {"strength": getattr(found, name), "cosine": getattr(found, f"cosine_{name}")}
    return changes
