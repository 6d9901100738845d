"""Scenes as an image source: `scenes:count=2000,seed=7,shift=place/sea/0.3` read into a deterministic sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..arguments import names_wrong_arguments
from ..errors import SummandError, nearest
from .attributes import ATTRIBUTES, LARGEST_COUNT, Causes, Shift, Tie, check_attribute, code_of, draw_causes
from .render import Chance, Scenes, render

_EXAMPLE = "scenes:count=2000,seed=7,shift=place/sea/0.3"


def is_scenes(source: str) -> bool:
    """Whether a string names rendered scenes, and no folder whose name begins alike."""
    return source == "scenes" or source.startswith("scenes:")


@dataclass(frozen=True)
class SceneSource:
    """A sample of scenes that is not rendered yet; its string form is what `parse_source` reads.

    >>> source = parse_source("scenes:count=100,seed=7")
    >>> len(source), source.sample(10, 14).images.shape
    (100, (4, 64, 64, 3))
    """

    count: int = 2000
    seed: int = 0
    groups: int = 1
    ties: tuple[Tie, ...] = ()
    shifts: tuple[Shift, ...] = ()

    def __len__(self) -> int:
        return self.count

    def __str__(self) -> str:
        parts = [f"count={self.count}", f"seed={self.seed}", f"groups={self.groups}"]
        parts += [f"tie={tie.cause}/{tie.effect}/{tie.share}" for tie in self.ties]
        parts += [f"shift={shift.attribute}/{shift.value}/{shift.share}" for shift in self.shifts]
        return f"scenes:{','.join(parts)}"

    @cached_property
    def causes(self) -> Causes:
        """Attribute codes of all scenes of the sample."""
        return draw_causes(self.count, self.seed, self.groups, self.ties, self.shifts)

    def sample(self, start: int = 0, stop: int | None = None) -> Scenes:
        """Scenes start … stop − 1 of the sample, rendered: the same pictures whatever the pieces it is read in."""
        start, stop, _ = slice(start, stop).indices(self.count)
        return self.pick(np.arange(start, max(start, stop)))

    def pick(self, rows: np.ndarray) -> Scenes:
        """The scenes of these numbers, in their order: the same pictures as in `sample`."""
        codes = self.causes
        causes = Causes(codes.groups[rows], codes.place[rows], codes.letter[rows])
        return render(causes, Chance.draw(int(rows.max(initial=-1)) + 1, self.seed).rows(rows))


@names_wrong_arguments
def parse_source(text: str) -> SceneSource:
    """The sample that a source string asks for: `scenes` or `scenes:key=value,…` with the keys count, seed, groups,
    tie=cause/effect/share and shift=attribute/value/share (these two may be repeated).

    >>> parse_source("scenes:count=500,tie=shape/colour/0.95").ties
    (Tie(cause='shape', effect='colour', share=0.95),)

    Raises `SummandError` that names the part which is wrong and what was expected there.
    """
    name, colon, options = text.strip().partition(":")
    if name != "scenes":
        raise SummandError(f"expected a source 'scenes' or 'scenes:key=value,…' such as {_EXAMPLE!r}, got {text!r}")
    found: dict[str, list[Any]] = {}
    for part in options.split(",") if colon else ():
        key, value = _option(part.strip(), text)
        found.setdefault(key, []).append(value)
    for key in _SINGLE:
        if len(found.get(key, ())) > 1:
            raise SummandError(f"{text!r} gives {key} {len(found[key])} times; keep one")
    source = SceneSource(
        **{key: found[key][0] for key in _SINGLE if key in found},
        ties=tuple(found.get("tie", ())),
        shifts=tuple(found.get("shift", ())),
    )
    _check_room(source)
    return source


def _option(part: str, text: str) -> tuple[str, Any]:
    key, equals, value = (piece.strip() for piece in part.partition("="))
    if not equals or not value:
        raise SummandError(f"{part!r} in {text!r}: expected key=value, with a key of {', '.join(_READERS)}")
    if key not in _READERS:
        known = f"{nearest(key, _READERS)} (keys: {', '.join(_READERS)})"
        raise SummandError(f"{part!r} in {text!r}: unknown key {key!r}{known}")
    try:
        return key, _READERS[key](value)
    except SummandError as error:
        raise SummandError(f"{part!r} in {text!r}: {error}") from None


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise SummandError(f"expected a whole number from {low} to {high:,}, got {value!r}")
        return int(value)

    return read


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SummandError(f"expected a share between 0 and 1, got {value!r}")
    return share


def _three(value: str, form: str) -> list[str]:
    pieces = [piece.strip() for piece in value.split("/")]
    if len(pieces) != 3:
        raise SummandError(f"expected {form}, got {value!r}")
    return pieces


def _tie(value: str) -> Tie:
    cause, effect, share = _three(value, "cause/effect/share, such as shape/colour/0.95")
    if check_attribute(cause) == check_attribute(effect):
        raise SummandError(f"expected two different attributes, got {cause} twice")
    return Tie(cause, effect, _share(share))


def _shift(value: str) -> Shift:
    attribute, forced, share = _three(value, "attribute/value/share, such as place/sea/0.3")
    code = code_of(attribute, forced)
    return Shift(attribute, ATTRIBUTES[attribute][code], _share(share))


def _check_room(source: SceneSource) -> None:
    """Two groups leave no room for some values: say so when the string is read, not when a scene is drawn."""
    for shift in source.shifts:
        draw_causes(1, 0, source.groups, shifts=[Shift(shift.attribute, shift.value, 1.0)])


_SINGLE = ("count", "seed", "groups")
_READERS: dict[str, Callable[[str], Any]] = {
    "count": _whole(1, LARGEST_COUNT),
    "seed": _whole(0, 2**63 - 1),
    "groups": _whole(1, 2),
    "tie": _tie,
    "shift": _shift,
}
