"""The causes of a scene, and how they are drawn: independently, tied, shifted or fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..arguments import names_wrong_arguments
from ..errors import SummandError, nearest

LARGEST_COUNT = 1_000_000
"""Scenes of one sample at most: their chance takes 0.8 kB a scene."""
Value = str | int

ATTRIBUTES: dict[str, tuple[Value, ...]] = {
    "shape": ("circle", "square", "triangle", "star", "heart", "cross", "ring", "crescent", "diamond", "arrow"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black"),
    "texture": ("solid", "striped", "dotted", "checkered"),
    "count": (1, 2, 3, 4, 5, 6),
    "size": ("small", "large"),
    "place": ("sea", "forest", "desert", "snow", "city", "meadow", "sunset", "plain"),
    "position": ("left", "right", "top", "bottom", "centre"),
    "letter": ("none", "A", "C", "E", "H", "K", "L", "S", "T", "X", "Z"),
}
"""Every attribute and its values, in the order of their codes."""

GROUP_ATTRIBUTES = ("shape", "colour", "texture", "count", "size", "position")
"""What each group of objects has of its own; place and letter belong to the whole scene."""

SCENE_ATTRIBUTES = ("place", "letter")
LARGEST_GROUP_OF_TWO = 3
"""Objects a group has at most where two groups share a scene, so that each fits into its half."""

_NO_LETTER_SHARE = 0.25
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


@dataclass(frozen=True)
class Tie:
    """In a `share` of the scenes the value of `effect` follows that of `cause` (values paired in order, cyclically)."""

    cause: str
    effect: str
    share: float


@dataclass(frozen=True)
class Shift:
    """A `share` of the scenes is forced to `value` in `attribute`."""

    attribute: str
    value: Value
    share: float


@dataclass(frozen=True)
class Causes:
    """Attribute codes of scenes: `groups` int [scene, group, group attribute], −1 for a group that is not there;
    `place` and `letter` int [scene]."""

    groups: np.ndarray
    place: np.ndarray
    letter: np.ndarray

    def __len__(self) -> int:
        return len(self.place)

    def codes(self, attribute: str, group: int = 0) -> np.ndarray:
        """Codes of one attribute, int [scene]."""
        check_attribute(attribute)
        if attribute in SCENE_ATTRIBUTES:
            return getattr(self, attribute)
        return self.groups[:, group, GROUP_ATTRIBUTES.index(attribute)]

    def with_codes(self, attribute: str, codes: np.ndarray) -> Causes:
        """The same scenes with one attribute (of the first group) changed."""
        groups, scene = self.groups.copy(), {"place": self.place, "letter": self.letter}
        if attribute in SCENE_ATTRIBUTES:
            scene[attribute] = np.asarray(codes)
        else:
            groups[:, 0, GROUP_ATTRIBUTES.index(attribute)] = codes
        return Causes(groups, **scene)

    def table(self, group: int = 0) -> pd.DataFrame:
        """One row a scene, one column an attribute, values in words; a missing second group gives missing values."""
        columns = {}
        for attribute, values in ATTRIBUTES.items():
            codes = self.codes(attribute, group)
            columns[attribute] = [values[code] if code >= 0 else None for code in codes]
        return pd.DataFrame(columns)


def check_attribute(attribute: str) -> str:
    if attribute not in ATTRIBUTES:
        raise SummandError(
            f"unknown attribute {attribute!r}{nearest(attribute, ATTRIBUTES)} (attributes: {', '.join(ATTRIBUTES)})"
        )
    return attribute


def code_of(attribute: str, value: Value) -> int:
    """The code of a value given as itself or as a word ("3" for a count)."""
    values = ATTRIBUTES[check_attribute(attribute)]
    for code, known in enumerate(values):
        if str(known).lower() == str(value).lower():
            return code
    names = [str(known) for known in values]
    raise SummandError(
        f"unknown {attribute} {value!r}{nearest(str(value), names)} (values of {attribute}: {', '.join(names)})"
    )


def _check_share(share: float, what: str) -> float:
    if not 0 <= share <= 1:
        raise SummandError(f"{what}: the share must lie between 0 and 1, got {share}")
    return share


@names_wrong_arguments
def draw_causes(
    count: int,
    seed: int,
    groups: int = 1,
    ties: Sequence[Tie] = (),
    shifts: Sequence[Shift] = (),
    fixed: Mapping[str, Value] | None = None,
) -> Causes:
    """Causes of `count` scenes, each attribute drawn independently and uniformly unless asked otherwise.

    The letter is "none" in a quarter of the scenes. Later options win over earlier ones: draw, tie, shift, fixed.
    Of two groups, each has 1–3 objects, the second stands opposite the first and differs from it in shape, colour
    and texture. The first n scenes are the same whatever `count` is.
    """
    if groups not in (1, 2):
        raise SummandError(f"groups must be 1 or 2, got {groups}")
    if count < 0 or seed < 0:
        raise SummandError(f"count and seed must not be negative, got count={count}, seed={seed}")
    if count > LARGEST_COUNT:
        raise SummandError(f"count must be at most {LARGEST_COUNT:,} scenes, got {count:,}")
    chance = np.random.default_rng([seed, 1]).random((count, len(ATTRIBUTES)))
    codes = {attribute: _uniform(chance[:, i], attribute, groups) for i, attribute in enumerate(ATTRIBUTES)}
    for i, tie in enumerate(ties):
        check_attribute(tie.cause)
        check_attribute(tie.effect)
        follow = _coins(count, seed, i) < _check_share(tie.share, f"tie {tie.cause}/{tie.effect}")
        followed = codes[tie.cause] % _choices(tie.effect, groups)
        codes[tie.effect] = np.where(follow, followed, codes[tie.effect])
    for i, shift in enumerate(shifts, start=len(ties)):
        force = _coins(count, seed, i) < _check_share(shift.share, f"shift {shift.attribute}/{shift.value}")
        codes[shift.attribute] = np.where(force, code_of(shift.attribute, shift.value), codes[shift.attribute])
    for attribute, value in (fixed or {}).items():
        codes[attribute] = np.full(count, code_of(attribute, value))
    if groups == 2:
        _check_room_for_two(codes)
    table = np.full((count, 2, len(GROUP_ATTRIBUTES)), -1, dtype=np.int64)
    table[:, 0] = np.stack([codes[name] for name in GROUP_ATTRIBUTES], axis=-1)
    if groups == 2:
        table[:, 1] = _second_group(table[:, 0], seed)
    return Causes(table, codes["place"], codes["letter"])


def _coins(count: int, seed: int, option: int) -> np.ndarray:
    """A stream of its own for each tie and shift, so that the first scenes do not depend on how many follow."""
    return np.random.default_rng([seed, 2, option]).random(count)


def _choices(attribute: str, groups: int) -> int:
    if groups == 2 and attribute == "count":
        return LARGEST_GROUP_OF_TWO
    if groups == 2 and attribute == "position":
        return len(_OPPOSITE)  # the centre has no opposite side
    return len(ATTRIBUTES[attribute])


def _uniform(chance: np.ndarray, attribute: str, groups: int) -> np.ndarray:
    if attribute == "letter":
        glyphs = len(ATTRIBUTES["letter"]) - 1
        glyph = 1 + ((chance - _NO_LETTER_SHARE) / (1 - _NO_LETTER_SHARE) * glyphs).astype(np.int64)
        return np.where(chance < _NO_LETTER_SHARE, 0, glyph)
    return (chance * _choices(attribute, groups)).astype(np.int64)


def _check_room_for_two(codes: Mapping[str, np.ndarray]) -> None:
    for attribute in ("count", "position"):
        if (codes[attribute] >= _choices(attribute, 2)).any():
            allowed = ATTRIBUTES[attribute][: _choices(attribute, 2)]
            raise SummandError(
                f"two groups in a scene leave room only for {attribute} in {', '.join(map(str, allowed))}; "
                f"ask for one of these or for groups=1"
            )


def _second_group(first: np.ndarray, seed: int) -> np.ndarray:
    chance = np.random.default_rng([seed, 3]).random((len(first), len(GROUP_ATTRIBUTES)))
    second = np.empty_like(first)
    for i, attribute in enumerate(GROUP_ATTRIBUTES):
        choices = _choices(attribute, 2)
        if attribute in ("shape", "colour", "texture"):
            second[:, i] = (first[:, i] + 1 + (chance[:, i] * (choices - 1)).astype(np.int64)) % choices
        elif attribute == "position":
            values = ATTRIBUTES["position"]
            opposite = np.array([values.index(_OPPOSITE[str(value)]) for value in values[: len(_OPPOSITE)]])
            second[:, i] = opposite[first[:, i]]
        else:
            second[:, i] = (chance[:, i] * choices).astype(np.int64)
    return second
