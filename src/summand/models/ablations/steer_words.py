"""What `steer` asks for: units and factors, as a mapping or in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import SummandError
from ...unit import Unit

Steer = Mapping[str, Any] | Mapping[Unit, Any] | str


def read_steer(steer: Steer) -> dict[Unit, Any]:
    """Unit → factor or coefficients, of a mapping or of "10.3=0,9:2914=2"."""
    if isinstance(steer, str):
        parts = [part.partition("=") for part in steer.split(",") if part.strip()]
        wrong = next((name for name, mark, _ in parts if not mark), None)
        if wrong is not None or not parts:
            raise SummandError(f"steer is UNIT=FACTOR with commas between (10.3=0,9:2914=2); got {steer!r}")
        given: list[tuple[Any, Any]] = [(name, value) for name, _, value in parts]
    elif isinstance(steer, Mapping):
        given = list(steer.items())
    else:
        raise SummandError(
            f'steer is unit → factor, {{"10.3": 0, "9:2914": 2.0}}, or the same as text, "10.3=0,9:2914=2"; got '
            f"{type(steer).__name__}"
        )
    found = {Unit.parse(name): value for name, value in given}
    if len(found) < len(given):
        raise SummandError(f"steer names a unit more than once: {', '.join(str(name) for name, _ in given)}")
    for unit, value in found.items():
        number = number_of(value)
        if number is None and (isinstance(value, str) or not hasattr(value, "__len__")):
            raise SummandError(f"{unit} is steered by a factor, or set to coefficients; got {value!r}")
        if number is not None and not math.isfinite(number):
            raise SummandError(f"{unit} is steered by a finite factor; got {value!r}")
    return found


def steer_text(steer: Steer) -> str | None:
    """The same as text, None where something is set and not scaled."""
    found = {unit: number_of(value) for unit, value in read_steer(steer).items()}
    if any(number is None for number in found.values()):
        return None
    return ",".join(f"{unit}={number:g}" for unit, number in found.items())


def number_of(value: Any) -> float | None:
    try:
        return float(value) if getattr(value, "ndim", 0) == 0 else None
    except (TypeError, ValueError):
        return None
