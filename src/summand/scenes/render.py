"""Scenes from causes: a pure function of attribute codes and of the chance that makes no two alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from .attributes import (
    ATTRIBUTES,
    GROUP_ATTRIBUTES,
    Causes,
    Shift,
    Tie,
    Value,
    check_attribute,
    draw_causes,
)
from .drawing import MARGIN, SLOTS, draw_letters, draw_objects, layout, radius_of
from .places import CHANCE, SIZE, grain, paint, smooth

_CHUNK = 24


@dataclass(frozen=True)
class Chance:
    """Uniform numbers [scene, ...] for everything that is not a cause; the same chance with one cause changed gives
    a counterfactual."""

    layout: np.ndarray  # [scene, group, 16]
    objects: np.ndarray  # [scene, group, slot, 8]
    letter: np.ndarray  # [scene, 8]
    place: np.ndarray  # [scene, CHANCE]
    light: np.ndarray  # [scene, 16]

    @staticmethod
    def draw(count: int, seed: int) -> Chance:
        shapes = {"layout": (2, 16), "objects": (2, SLOTS, 8), "letter": (8,), "place": (CHANCE,), "light": (16,)}
        return Chance(
            **{
                name: np.random.default_rng([seed, 10 + i]).random((count, *shape), dtype=np.float32)
                for i, (name, shape) in enumerate(shapes.items())
            }
        )

    def rows(self, rows: slice | np.ndarray) -> Chance:
        return Chance(self.layout[rows], self.objects[rows], self.letter[rows], self.place[rows], self.light[rows])


@dataclass(frozen=True)
class Scenes:
    """Rendered scenes with the truth about them.

    images: uint8 [scene, 64, 64, 3]. group_masks: bool [scene, group, 64, 64], the pixels of each group's objects.
    instances: uint8 [scene, 64, 64], 0 for background, 1… for single objects. letter_masks: bool [scene, 64, 64].
    causes: attribute codes; attributes: the same in words, one row a scene.
    """

    images: np.ndarray
    group_masks: np.ndarray
    instances: np.ndarray
    letter_masks: np.ndarray
    causes: Causes

    def __len__(self) -> int:
        return len(self.images)

    @property
    def masks(self) -> np.ndarray:
        """bool [scene, 64, 64]: pixels of any object."""
        return np.logical_or.reduce(self.group_masks, axis=1)

    @property
    def attributes(self) -> pd.DataFrame:
        """The causes in words: one row a scene, one column an attribute (of the first group)."""
        return self.causes.table()

    @property
    def second(self) -> pd.DataFrame:
        """The same table for the second group; missing values where a scene has one group."""
        return self.causes.table(group=1)


@names_wrong_arguments
def sample(
    count: int,
    seed: int,
    groups: int = 1,
    ties: Sequence[Tie] = (),
    shifts: Sequence[Shift] = (),
    fixed: Mapping[str, Value] | None = None,
) -> Scenes:
    """Draw `count` scenes with independent causes unless asked otherwise (see `draw_causes`), and render them.

    Deterministic by `seed`; the first n scenes are the same whatever `count` is.
    """
    return render(draw_causes(count, seed, groups, ties, shifts, fixed), Chance.draw(count, seed))


@names_wrong_arguments
def counterfactuals(count: int, attribute: str, seed: int, groups: int = 1) -> tuple[Scenes, Scenes]:
    """Pairs of scenes that differ in one attribute (of the first group) and in nothing else.

    Where a change moves other things by necessity (more objects need more room), only those follow.
    """
    check_attribute(attribute)
    causes, chance = draw_causes(count, seed, groups), Chance.draw(count, seed)
    choices = len(ATTRIBUTES[attribute])
    if groups == 2 and attribute in ("count", "position", "shape", "colour", "texture"):
        raise SummandError(f"with two groups only size, place and letter can be changed alone, not {attribute}")
    steps = np.random.default_rng([seed, 4]).integers(1, choices, size=count)
    changed = causes.with_codes(attribute, (causes.codes(attribute) + steps) % choices)
    return render(causes, chance), render(changed, chance)


@names_wrong_arguments
def render(causes: Causes, chance: Chance) -> Scenes:
    """The pictures and masks of given causes and chance (both with one row a scene)."""
    parts = [_render_chunk(*piece) for piece in _chunks(causes, chance)]
    if not parts:
        empty = np.zeros((0, SIZE, SIZE), dtype=np.uint8)
        return Scenes(
            np.zeros((0, SIZE, SIZE, 3), np.uint8),
            np.zeros((0, 2, SIZE, SIZE), bool),
            empty,
            empty.astype(bool),
            causes,
        )
    images, group_masks, instances, letter_masks = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Scenes(images, group_masks, instances, letter_masks, causes)


def _chunks(causes: Causes, chance: Chance) -> Iterator[tuple[Causes, Chance]]:
    for start in range(0, len(causes), _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield Causes(causes.groups[rows], causes.place[rows], causes.letter[rows]), chance.rows(rows)


def _render_chunk(causes: Causes, chance: Chance) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    two = causes.groups[:, 1, 0] >= 0
    inner = slice(MARGIN, MARGIN + SIZE)
    canvas = np.zeros((len(causes), 3, SIZE + 2 * MARGIN, SIZE + 2 * MARGIN), dtype=np.float32)
    canvas[:, :, inner, inner] = paint(causes.place, chance.place)
    instances = np.zeros_like(canvas[:, 0], dtype=np.uint8)
    owner = np.zeros_like(instances)
    boxes = []
    for group in (0, 1):
        present = np.flatnonzero(causes.groups[:, group, 0] >= 0)
        if not len(present):
            continue
        codes: dict[str, np.ndarray] = dict(zip(GROUP_ATTRIBUTES, causes.groups[present, group].T, strict=True))
        objects = chance.objects[present, group]
        radius = radius_of(codes["size"], chance.layout[present, group])
        centres, used, box = layout(codes, radius, chance.layout[present, group], objects, two[present])
        boxes.append(box)
        draw_objects(canvas, instances, owner, present, group, codes, radius, centres, used, objects)
    letters = draw_letters(canvas, causes, chance.letter, boxes[0], two)
    picture = _light(canvas[:, :, inner, inner], chance.light)
    letters = letters[:, inner, inner]
    owner = np.where(letters, 0, owner[:, inner, inner])
    instances = np.where(letters, 0, instances[:, inner, inner]).astype(np.uint8)
    group_masks = np.stack([owner == 1, owner == 2], axis=1)
    return picture, group_masks, instances, letters


def _light(picture: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Brightness, tint, a slant of light and grain; then bytes."""
    slant = 0.14 * ((u[:, 0, None] - 0.5) * np.linspace(-1, 1, SIZE, dtype=np.float32)[None])
    gain = (0.86 + 0.24 * u[:, 1, None, None]) + slant[:, None, :] + 0.06 * (smooth(u[:, 2:5]) * (u[:, 5, None, None]))
    tint = 1 + 0.06 * (u[:, 6:9] - 0.5)
    lit = picture * (gain[:, None] * tint[:, :, None, None])
    lit += grain(u[:, 9:12]) * (0.008 + 0.022 * u[:, 12, None, None, None])
    return np.ascontiguousarray((np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1))
