"""Signed distances to the outlines of shapes and glyphs, tabulated once on a square of half-width `EXTENT`.

Negative inside, in units of the shape's radius; sampling a table and scaling by the radius in pixels gives an
anti-aliased stencil at any size and angle.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from .attributes import ATTRIBUTES

EXTENT = 1.6
RESOLUTION = 161


def _grid() -> np.ndarray:
    axis = np.linspace(-EXTENT, EXTENT, RESOLUTION)
    return np.stack(np.meshgrid(axis, axis), axis=-1)  # [row, column, (x right, y down)]


def _segment_distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    along = end - start
    share = np.clip(((points - start) @ along) / (along @ along), 0, 1)
    return np.linalg.norm(points - start - share[..., None] * along, axis=-1)


def _polygon(vertices: list[tuple[float, float]] | np.ndarray) -> np.ndarray:
    points, corners = _grid(), np.asarray(vertices, dtype=float)
    distance = np.full(points.shape[:2], np.inf)
    inside = np.zeros(points.shape[:2], dtype=bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        distance = np.minimum(distance, _segment_distance(points, start, end))
        crosses = (start[1] > points[..., 1]) != (end[1] > points[..., 1])
        rise = np.where(end[1] == start[1], 1.0, end[1] - start[1])
        at = start[0] + (points[..., 1] - start[1]) / rise * (end[0] - start[0])
        inside ^= crosses & (points[..., 0] < at)
    return np.where(inside, -distance, distance)


def _disc(radius: float = 1.0, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return np.linalg.norm(_grid() - np.array([x, y]), axis=-1) - radius


def _star() -> np.ndarray:
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.18, 0.56)
    return _polygon(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1))


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return _polygon(np.stack([x / 15.5, (y - 2.5) / 15.5], axis=-1))


def _shape(name: str) -> np.ndarray:
    if name == "circle":
        return _disc(0.98)
    if name == "square":
        return _polygon([(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)])
    if name == "triangle":
        return _polygon([(0, -1.02), (1.02, 0.78), (-1.02, 0.78)])
    if name == "star":
        return _star()
    if name == "heart":
        return _heart()
    if name == "cross":
        a, b = 0.45, 1.02
        return _polygon(
            [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
        )
    if name == "ring":
        return np.abs(_disc(0.7)) - 0.35
    if name == "crescent":
        return np.maximum(_disc(1.05), -_disc(0.66, 0.6, -0.22))
    if name == "diamond":
        return _polygon([(0, -1.18), (0.78, 0), (0, 1.18), (-0.78, 0)])
    if name == "arrow":
        return _polygon([(-1.1, -0.33), (0.0, -0.33), (0.0, -0.95), (1.15, 0), (0.0, 0.95), (0.0, 0.33), (-1.1, 0.33)])
    raise KeyError(name)


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[tuple[float, float]]:
    """Points of an elliptic arc, angles in degrees, 0 to the right, 90 downwards."""
    angles = np.radians(np.linspace(start, end, 12))
    return [(x + rx * np.cos(a), y + ry * np.sin(a)) for a in angles]


_GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "A": [[(-0.7, 1), (0, -1), (0.7, 1)], [(-0.42, 0.35), (0.42, 0.35)]],
    "C": [_arc(0.1, 0, 0.75, 1, -50, -310)],
    "E": [[(0.6, -1), (-0.6, -1), (-0.6, 1), (0.6, 1)], [(-0.6, 0), (0.4, 0)]],
    "H": [[(-0.65, -1), (-0.65, 1)], [(0.65, -1), (0.65, 1)], [(-0.65, 0), (0.65, 0)]],
    "K": [[(-0.6, -1), (-0.6, 1)], [(0.65, -1), (-0.6, 0.1)], [(-0.2, -0.2), (0.7, 1)]],
    "L": [[(-0.55, -1), (-0.55, 1), (0.65, 1)]],
    "S": [_arc(0, -0.5, 0.62, 0.5, -30, -270) + _arc(0, 0.5, 0.62, 0.5, -90, 150)],
    "T": [[(-0.75, -1), (0.75, -1)], [(0, -1), (0, 1)]],
    "X": [[(-0.7, -1), (0.7, 1)], [(0.7, -1), (-0.7, 1)]],
    "Z": [[(-0.65, -1), (0.65, -1), (-0.65, 1), (0.65, 1)]],
}
"""Strokes of each letter: polylines in a box of half-height 1, y downwards."""

_STROKE = 0.2


def _glyph(name: str) -> np.ndarray:
    points = _grid()
    distance = np.full(points.shape[:2], np.inf)
    for line in _GLYPHS[name]:
        for start, end in itertools.pairwise(line):
            distance = np.minimum(distance, _segment_distance(points, np.asarray(start), np.asarray(end)))
    return distance - _STROKE


@lru_cache(maxsize=1)
def shape_tables() -> np.ndarray:
    """Signed distance of every shape, float32 [shape, row, column]."""
    return np.stack([_shape(str(name)) for name in ATTRIBUTES["shape"]]).astype(np.float32)


@lru_cache(maxsize=1)
def glyph_tables() -> np.ndarray:
    """Signed distance of every letter but "none", float32 [letter − 1, row, column]."""
    return np.stack([_glyph(str(name)) for name in ATTRIBUTES["letter"][1:]]).astype(np.float32)


def look_up(tables: np.ndarray, which: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distances at points (x, y), in units of the radius: `which` [object], x and y [object, ...]."""
    scale = (RESOLUTION - 1) / (2 * EXTENT)
    column = np.clip(np.rint((x + EXTENT) * scale), 0, RESOLUTION - 1).astype(np.intp)
    row = np.clip(np.rint((y + EXTENT) * scale), 0, RESOLUTION - 1).astype(np.intp)
    which = which.reshape(-1, *[1] * (x.ndim - 1))
    return tables[which, row, column]
