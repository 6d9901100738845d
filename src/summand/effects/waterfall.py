"""A sum along one direction, term by term: what a waterfall draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["input", "heads", "mlp", "constants"]


@dataclass(frozen=True)
class Step:
    """One bar: what it is, its layer, and what it adds."""

    name: str
    kind: Kind
    layer: int | None
    value: float


def steps(heads: Sequence[float], mlps: Sequence[float], embedding: float, constants: float) -> list[Step]:
    """The terms in the order in which the model adds them. heads: of each layer; mlps: of each layer, or of the last
    ones, where the others write nothing to the output."""
    found = [Step("input", "input", None, embedding)]
    first = len(heads) - len(mlps)
    for layer, value in enumerate(heads):
        found.append(Step(f"layer {layer} heads", "heads", layer, value))
        if layer >= first:
            found.append(Step(f"layer {layer} MLP", "mlp", layer, mlps[layer - first]))
    return [*found, Step("constants", "constants", None, constants)]
