"""Objects and letters painted on a canvas: where they stand, their stencils, textures and shades."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .attributes import ATTRIBUTES, Causes
from .outlines import glyph_tables, look_up, shape_tables

SLOTS = 6
"""Objects a group has at most."""

MARGIN = 14  # pixels around the canvas, so that stencils at the border need no clipping
_REACH = np.arange(-12, 13)  # rows and columns of a stencil around its centre
_WINDOW = _REACH.astype(np.float32)
COLOURS = {
    "red": (0.88, 0.10, 0.12),
    "orange": (0.98, 0.52, 0.05),
    "yellow": (0.98, 0.90, 0.12),
    "green": (0.10, 0.68, 0.20),
    "cyan": (0.12, 0.85, 0.88),
    "blue": (0.14, 0.24, 0.90),
    "purple": (0.52, 0.16, 0.72),
    "pink": (1.00, 0.52, 0.76),
    "white": (0.97, 0.97, 0.97),
    "black": (0.06, 0.06, 0.07),
}
_PALETTE = np.array([COLOURS[str(name)] for name in ATTRIBUTES["colour"]], dtype=np.float32)
_BRIGHT = (_PALETTE @ np.array([0.30, 0.59, 0.11], dtype=np.float32)) > 0.22
_DARK = np.where(_BRIGHT[:, None], _PALETTE * 0.36, _PALETTE + (1 - _PALETTE) * 0.42)
_WHITE = (_PALETTE.min(axis=1) > 0.9)[:, None]
_STARK = np.where(_BRIGHT[:, None], np.where(_WHITE, 0.4, _PALETTE * 0.1), _PALETTE + (1 - _PALETTE) * 0.55)
_PALER = _PALETTE + (1 - _PALETTE) * np.where(_BRIGHT, 0.85, 0.8)[:, None]
_PALE = np.where(_WHITE, 0.64, _PALER)
# Stripes are a darker shade of the object, dots a paler one, checks nearly black, so that a texture shows even where
# few pixels carry it; on white and black all are greys, so that the two are not taken for each other.
_ACCENTS = {"striped": _DARK, "dotted": _PALE, "checkered": _STARK, "solid": _PALETTE}
_ACCENT = np.stack([_ACCENTS[str(name)] for name in ATTRIBUTES["texture"]]).astype(np.float32)
_OUTLINE = np.where(_BRIGHT[:, None], _PALETTE * 0.18, np.float32(0.62)).astype(np.float32)
_RADII = np.array([[5.6, 6.2], [8.1, 8.7]], dtype=np.float32)  # pixels, small and large


def radius_of(size: np.ndarray, layout: np.ndarray) -> np.ndarray:
    low, high = _RADII[size].T
    return low + (high - low) * layout[:, 0]


def layout(
    codes: Mapping[str, np.ndarray], radius: np.ndarray, u: np.ndarray, objects: np.ndarray, two: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the objects of a group stand: centres [scene, slot, (x, y)] in pixels, which slots are used, and the
    group's box [scene, (x, y, half width, half height)].

    Objects take random cells of a 1 × n or 2 × n grid that runs along the side on which the group stands.
    """
    scenes = len(radius)
    count = codes["count"] + 1
    position = np.array(ATTRIBUTES["position"])[codes["position"]]
    tall = np.where(position == "centre", u[:, 1] < 0.5, np.isin(position, ("left", "right")))
    short = np.where((count > 3) | ((count > 1) & (u[:, 2] < 0.4) & ~two), 2, 1)
    need = -(-count // short)
    long = np.minimum(3, need + (u[:, 3] * 2).astype(np.int64))
    cell = np.arange(SLOTS)
    i, j = cell // 3, cell % 3  # along the short and the long axis
    free = (i[None] < short[:, None]) & (j[None] < long[:, None])
    order = np.argsort(np.where(free, objects[:, :, 0], 2.0), axis=1, kind="stable")
    used = cell[None] < count[:, None]
    step_long = np.minimum(60.0 / long, 2.12 * radius + 0.6 + 6 * u[:, 4])
    step_short = 2.12 * radius + 0.6 + 2 * u[:, 5]
    along = j[order] * step_long[:, None]
    across = i[order] * step_short[:, None]
    x, y = np.where(tall[:, None], across, along), np.where(tall[:, None], along, across)
    centres = np.stack([x, y], axis=-1) + 1.2 * (objects[:, :, 1:3] - 0.5)
    low = np.where(used[..., None], centres, np.inf).min(axis=1)
    high = np.where(used[..., None], centres, -np.inf).max(axis=1)
    half = (high - low) / 2 + radius[:, None]
    middle = np.full((scenes, 2), 32.0) + np.where((position == "centre")[:, None], 4.0, 16.0) * (u[:, 6:8] - 0.5)
    edge = 10 + np.where(two, 3, 9) * u[:, 8]
    middle[:, 0] = np.where(position == "left", edge, np.where(position == "right", 64 - edge, middle[:, 0]))
    middle[:, 1] = np.where(position == "top", edge, np.where(position == "bottom", 64 - edge, middle[:, 1]))
    middle = np.clip(middle, half + 1, 63 - half)
    centres = centres - ((low + high) / 2 - middle)[:, None]
    return centres.astype(np.float32), used, np.concatenate([middle, half], axis=1)


def draw_objects(
    canvas: np.ndarray,
    instances: np.ndarray,
    owner: np.ndarray,
    present: np.ndarray,
    group: int,
    codes: Mapping[str, np.ndarray],
    radius: np.ndarray,
    centres: np.ndarray,
    used: np.ndarray,
    objects: np.ndarray,
) -> None:
    which, slot = np.nonzero(used)
    chance = objects[which, slot]
    centre, size = centres[which, slot], radius[which]
    corner, along, across = _frame(centre, (chance[:, 3] - 0.5) * 0.5)
    scale = size[:, None, None]
    distance = look_up(shape_tables(), codes["shape"][which], along / scale, across / scale) * scale
    alpha = np.clip(0.5 - distance, 0, 1)
    edge = np.clip(distance + 1.3, 0, 1)[:, None]
    base = _PALETTE[codes["colour"][which]] * (0.94 + 0.12 * chance[:, 4:5]) + 0.05 * (chance[:, 5:8] - 0.5)
    accent = _pattern(codes["texture"][which], along, across, size, chance)[:, None]
    hue = codes["colour"][which]
    colours = base[:, :, None, None] + (_ACCENT[codes["texture"][which], hue] - base)[:, :, None, None] * accent
    colours += (_OUTLINE[hue][:, :, None, None] - colours) * edge
    first_id = instances.max(axis=(1, 2)) if group else np.zeros(len(canvas), dtype=np.uint8)
    for s in range(SLOTS):
        here = np.flatnonzero(slot == s)
        if not len(here):
            break
        scene = present[which[here]]
        a = alpha[here]
        at = _paste(canvas, scene, corner[here], colours[here], a)
        covered = a > 0.5
        instances[at] = np.where(covered, (first_id[scene] + s + 1)[:, None, None], instances[at])
        owner[at] = np.where(covered, group + 1, owner[at])


def _paste(
    canvas: np.ndarray, scene: np.ndarray, corner: np.ndarray, colours: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blend one stencil into each of the given scenes; returns the index of its pixels in [scene, row, column]."""
    scene = scene[:, None, None]
    row = (corner[:, 1, None] + _REACH + MARGIN)[:, :, None]
    column = (corner[:, 0, None] + _REACH + MARGIN)[:, None, :]
    for channel in range(3):
        under = canvas[scene, channel, row, column]
        canvas[scene, channel, row, column] = under + (colours[:, channel] - under) * alpha
    return scene, row, column


def _frame(centre: np.ndarray, tilt: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixel under each centre, int [object, (x, y)], and the coordinates of the pixels around it along and
    across the object's tilted axes, each float32 [object, row, column]."""
    corner = np.floor(centre).astype(np.intp)
    rest = centre - corner.astype(np.float32)
    dx = _WINDOW[None, None, :] + 0.5 - rest[:, 0, None, None]
    dy = _WINDOW[None, :, None] + 0.5 - rest[:, 1, None, None]
    cos, sin = np.cos(tilt)[:, None, None], np.sin(tilt)[:, None, None]
    return corner, dx * cos + dy * sin, dy * cos - dx * sin


def _pattern(
    texture: np.ndarray, along: np.ndarray, across: np.ndarray, radius: np.ndarray, chance: np.ndarray
) -> np.ndarray:
    """Share of the accent colour at each pixel of each stencil, [object, row, column]."""
    share = np.zeros(along.shape, dtype=np.float32)
    for kind, name in enumerate(ATTRIBUTES["texture"]):
        here = np.flatnonzero(texture == kind)
        if name == "solid" or not len(here):
            continue
        c = chance[here]
        turn = (np.pi * c[:, 6] if name == "striped" else 0.6 * (c[:, 6] - 0.5))[:, None, None]
        u = along[here] * np.cos(turn) + across[here] * np.sin(turn) + 3 * c[:, 4, None, None]
        pitch = (2.9 + 0.3 * radius[here])[:, None, None]
        if name == "striped":
            share[here] = np.clip(0.5 + 2.0 * np.sin(2 * np.pi * u / pitch), 0, 1)
            continue
        v = across[here] * np.cos(turn) - along[here] * np.sin(turn) + 3 * c[:, 5, None, None]
        if name == "dotted":
            bumps = np.cos(2 * np.pi * u / pitch) + np.cos(2 * np.pi * v / pitch)
            share[here] = np.clip(0.5 + 1.6 * (bumps - 0.75), 0, 1)
        else:
            cell = 0.62 * pitch
            share[here] = np.clip(0.5 + 3.0 * np.sin(np.pi * u / cell) * np.sin(np.pi * v / cell), 0, 1)
    return share


def draw_letters(canvas: np.ndarray, causes: Causes, u: np.ndarray, box: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Paint letter plates on the free side of the first group; returns bool [scene, padded, padded]."""
    letters = np.zeros_like(canvas[:, 0], dtype=bool)
    here = np.flatnonzero(causes.letter > 0)
    if not len(here):
        return letters
    u, box, two = u[here], box[here], two[here]
    centre = _letter_centre(np.array(ATTRIBUTES["position"])[causes.groups[here, 0, 5]], u, box, two)
    corner, x, y = _frame(centre, 0.35 * (u[:, 2] - 0.5))
    height = (4.9 + 0.5 * u[:, 3])[:, None, None]
    ink = np.clip(0.5 - look_up(glyph_tables(), causes.letter[here] - 1, x / height, y / height) * height, 0, 1)
    plate = np.clip(7.6 - np.maximum(np.abs(x) * 1.12, np.abs(y)), 0, 1)
    dark = (u[:, 4] < 0.5).astype(np.float32)
    paper = np.where(dark[:, None] > 0, np.float32(0.10), np.float32(0.93)) + 0.06 * (u[:, 5:8] - 0.5)
    letter = np.where(dark[:, None] > 0, np.float32(0.96), np.float32(0.05)) + 0 * paper
    colours = paper[:, :, None, None] + (letter - paper)[:, :, None, None] * ink[:, None]
    at = _paste(canvas, here, corner, colours, plate)
    letters[at] = plate > 0.5
    return letters


def _letter_centre(position: np.ndarray, u: np.ndarray, box: np.ndarray, two: np.ndarray) -> np.ndarray:
    free = 10 + 44 * u[:, 0]  # anywhere along the free side
    far = 9 + 6 * u[:, 1]
    beside = np.isin(position, ("left", "right")) | ((position == "centre") & (box[:, 2] <= box[:, 3]))
    # The side with room: opposite the group, or, around a central group, the wider of the two sides.
    after = np.select(
        [np.isin(position, ("left", "top")), np.isin(position, ("right", "bottom"))],
        [np.ones(len(u), bool), np.zeros(len(u), bool)],
        np.where(beside, box[:, 0], box[:, 1]) < 32,
    )
    out = np.where(position == "centre", 7.5, far)
    away = np.where(after, 64 - out, out)
    away = np.where(two, 31 + 2 * u[:, 1], away)
    return np.where(beside[:, None], np.stack([away, free], -1), np.stack([free, away], -1)).astype(np.float32)
