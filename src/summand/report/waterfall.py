"""A sum along a direction as bars, each from where the sum stood to where it stands then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..effects.waterfall import Step
from .figures import style

FOR, AGAINST, TOTAL = "#b2182b", "#2166ac", "#555555"


def figure(steps: Sequence[Step], title: str = "") -> Any:
    """Red bars add to the sum, blue ones take from it; the last one is the sum."""
    from ..plots import Plot

    names = [*(step.name for step in steps), "sum"]
    ends = [0.0]
    for step in steps:
        ends.append(ends[-1] + step.value)
    with style():
        drawn = Plot(figsize=(6.4, 0.9 + 0.24 * len(names)), layout="constrained")
        axes = drawn.subplots()
        for place, (step, start) in enumerate(zip(steps, ends, strict=False)):
            _bar(axes, place, start, step.value, FOR if step.value >= 0 else AGAINST)
            axes.plot([ends[place + 1]] * 2, [place, place + 1], color="#999999", linewidth=0.6)
        _bar(axes, len(steps), 0.0, ends[-1], TOTAL)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_title(title, parse_math=False, loc="left")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        low, high = min(ends), max(ends)
        room = 0.14 * ((high - low) or 1.0)
        axes.set_xlim(low - room, high + room)
    return drawn


def _bar(axes: Any, place: int, start: float, value: float, colour: str) -> None:
    axes.barh(place, value, left=start, height=0.66, color=colour)
    said = f"{value:+.3f}".replace("-", "−")
    side = value >= 0
    axes.annotate(
        said, (start + value, place), xytext=(3 if side else -3, 0), textcoords="offset points", va="center",
        ha="left" if side else "right", fontsize=7.5,
    )  # fmt: skip
