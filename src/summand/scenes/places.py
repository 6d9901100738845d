"""Eight backgrounds, each drawn anew for every scene from a few numbers of its own chance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .attributes import ATTRIBUTES

SIZE = 64
CHANCE = 48
"""Uniform numbers that a background may use."""

_FIELD = 160
_Y = np.linspace(0, 1, SIZE, dtype=np.float32)[None, :, None]
_X = np.linspace(0, 1, SIZE, dtype=np.float32)[None, None, :]


def _colour(*rgb: float) -> np.ndarray:
    return np.array(rgb, dtype=np.float32)[:, None, None]


@lru_cache(maxsize=1)
def _fields() -> np.ndarray:
    """Smooth noise, float32 [field, _FIELD, _FIELD], zero mean and unit deviation each."""
    from scipy.ndimage import zoom

    rng = np.random.default_rng(20_100)
    fields: np.ndarray = np.zeros((24, _FIELD, _FIELD))
    for cells, weight in ((5, 1.0), (10, 0.7), (20, 0.5), (40, 0.35)):
        coarse, growth = rng.standard_normal((24, cells, cells)), (1, _FIELD / cells, _FIELD / cells)
        fields += weight * np.asarray(zoom(coarse, growth, order=2))
    fields -= fields.mean(axis=(1, 2), keepdims=True)
    return (fields / fields.std(axis=(1, 2), keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """White noise, float32 [field, 3, _FIELD, _FIELD]."""
    return np.random.default_rng(20_101).standard_normal((12, 3, _FIELD, _FIELD)).astype(np.float32)


def _crop(fields: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """A random window of a random field for each scene: chance [scene, 3] → [scene, ..., SIZE, SIZE]."""
    spare = _FIELD - SIZE + 1
    field = (chance[:, 0] * len(fields)).astype(np.intp)
    row, column = (chance[:, 1:3] * spare).astype(np.intp).T
    return np.stack([fields[f, ..., r : r + SIZE, c : c + SIZE] for f, r, c in zip(field, row, column, strict=True)])


def smooth(chance: np.ndarray) -> np.ndarray:
    return _crop(_fields(), chance)


def grain(chance: np.ndarray) -> np.ndarray:
    return _crop(_grain(), chance)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """First where share [scene, row, column] is 0, second where it is 1; colours are [..., 3, row, column]."""
    return first + (second - first) * share[:, None]


def _below(horizon: np.ndarray) -> np.ndarray:
    """Soft indicator of the ground: horizon [scene] or [scene, 1, column] as a share of the height."""
    return np.clip((_Y - horizon) * SIZE + 0.5, 0, 1)


def _u(chance: np.ndarray, i: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return (low + (high - low) * chance[:, i])[:, None, None].astype(np.float32)


def _sea(c: np.ndarray) -> np.ndarray:
    noise = smooth(c[:, 10:13])
    sky = _mix(_colour(0.55, 0.75, 0.95), _colour(0.88, 0.93, 0.97), np.clip(_Y * 2.5 + 0.15 * noise, 0, 1))
    depth = np.clip((_Y - 0.25) * 1.2, 0, 1) + 0 * noise
    water = _mix(_colour(0.10, 0.50, 0.66), _colour(0.03, 0.22, 0.48), depth)
    phase = _Y * _u(c, 1, 45, 75) + 1.4 * np.sin(_X * _u(c, 2, 9, 22) + 6 * _u(c, 3)) + noise
    crest = np.clip(np.sin(phase) - 0.6, 0, 1) * 1.1
    return _mix(sky, _mix(water, _colour(0.85, 0.95, 1.0), crest), _below(_u(c, 0, 0.2, 0.4)))


def _forest(c: np.ndarray) -> np.ndarray:
    noise, fine = smooth(c[:, 10:13]), grain(c[:, 13:16])[:, 0]
    leaves = _mix(_colour(0.05, 0.20, 0.07), _colour(0.20, 0.42, 0.14), np.clip(0.45 + 0.3 * noise + 0.12 * fine, 0, 1))
    trunk = np.zeros_like(noise)
    for i in range(6):
        lean = _u(c, 20 + i) + (_u(c, 26 + i, -0.06, 0.06)) * _Y
        trunk = np.maximum(trunk, np.clip((_u(c, 32 + i, 1.0, 2.4) - np.abs(_X - lean) * SIZE) + 0.5, 0, 1))
    bark = _mix(_colour(0.28, 0.17, 0.09), _colour(0.40, 0.27, 0.16), np.clip(0.5 + 0.4 * fine, 0, 1))
    picture = _mix(leaves, bark, trunk)
    floor = _mix(_colour(0.16, 0.13, 0.06), _colour(0.28, 0.22, 0.10), np.clip(0.5 + 0.4 * noise, 0, 1))
    return _mix(picture, floor, _below(_u(c, 0, 0.86, 0.95)))


def _desert(c: np.ndarray) -> np.ndarray:
    noise, fine = smooth(c[:, 10:13]), grain(c[:, 13:16])[:, 0]
    sky = _mix(_colour(0.45, 0.70, 0.92), _colour(0.93, 0.90, 0.80), np.clip(_Y * 2.4 + 0 * noise, 0, 1))
    ridge = _u(c, 0, 0.3, 0.45) + 0.05 * np.sin(_X * _u(c, 1, 5, 10) + 6.3 * _u(c, 2))
    slope = np.sin((_Y * _u(c, 3, 10, 18)) + 1.8 * np.sin(_X * _u(c, 4, 4, 8) + 6.3 * _u(c, 5)))
    sand = _mix(_colour(0.80, 0.60, 0.33), _colour(0.96, 0.82, 0.55), np.clip(0.5 + 0.4 * slope + 0.06 * fine, 0, 1))
    return _mix(sky, sand, _below(ridge))


def _snow(c: np.ndarray) -> np.ndarray:
    noise = smooth(c[:, 10:13])
    sky = _mix(_colour(0.62, 0.70, 0.82), _colour(0.80, 0.85, 0.92), np.clip(_Y * 2 + 0.1 * noise, 0, 1))
    hill = _u(c, 0, 0.3, 0.5) + 0.06 * np.sin(_X * _u(c, 1, 4, 9) + 6.3 * _u(c, 2))
    drift = _mix(_colour(0.82, 0.88, 0.96), _colour(0.98, 0.99, 1.0), np.clip(0.6 + 0.3 * noise, 0, 1))
    flakes = np.clip((grain(c[:, 13:16])[:, 1] - 1.9) * 3, 0, 1)
    return _mix(_mix(sky, drift, _below(hill)), _colour(1, 1, 1), flakes)


def _city(c: np.ndarray) -> np.ndarray:
    scenes = len(c)
    sky = _mix(_colour(0.02, 0.02, 0.10), _colour(0.12, 0.10, 0.25), np.broadcast_to(_Y, (scenes, SIZE, SIZE)))
    stars = np.clip((grain(c[:, 13:16])[:, 2] - 2.6) * 3, 0, 1)
    sky = _mix(sky, _colour(1, 1, 0.9), stars)
    offset = (c[:, 0] * 8).astype(np.intp)[:, None]
    block = (np.arange(SIZE)[None] + offset) // 9  # [scene, column]
    rise = np.take_along_axis(0.12 + 0.5 * c[:, 20:29], block, axis=1)[:, None, :].astype(np.float32)
    shade = np.take_along_axis(c[:, 29:38], block, axis=1)[:, None, :].astype(np.float32)
    wall = _mix(_colour(0.07, 0.07, 0.13), _colour(0.17, 0.16, 0.24), np.broadcast_to(shade, (scenes, SIZE, SIZE)))
    cells = grain(c[:, 16:19])[:, 0, ::4, ::3]
    lit = np.repeat(np.repeat(cells > 0.1, 4, axis=1), 3, axis=2)[:, :SIZE, :SIZE]
    pane = (np.arange(SIZE) % 4 < 2)[None, :, None] & ((np.arange(SIZE)[None] + offset) % 9 % 3 == 1)[:, None, :]
    windows = (lit & pane).astype(np.float32)
    wall = _mix(wall, _colour(1.0, 0.85, 0.45), windows)
    return _mix(sky, wall, _below(rise))


def _meadow(c: np.ndarray) -> np.ndarray:
    noise, fine = smooth(c[:, 10:13]), grain(c[:, 13:16])
    sky = _mix(_colour(0.40, 0.68, 0.98), _colour(0.80, 0.92, 1.0), np.clip(_Y * 2 + 0.25 * noise, 0, 1))
    blades = np.repeat(fine[:, 0, ::3], 3, axis=1)[:, :SIZE]
    grass = _mix(_colour(0.25, 0.55, 0.15), _colour(0.55, 0.80, 0.30), np.clip(0.5 + 0.2 * noise + 0.2 * blades, 0, 1))
    bloom = np.clip((fine[:, 1] - 1.9) * 3, 0, 1)
    petals = _mix(_colour(1, 1, 0.95), _colour(1, 0.9, 0.2), (fine[:, 2] > 0).astype(np.float32))
    grass = _mix(grass, petals, bloom)
    hill = _u(c, 0, 0.25, 0.42) + 0.04 * np.sin(_X * _u(c, 1, 4, 8) + 6.3 * _u(c, 2))
    return _mix(sky, grass, _below(hill))


def _sunset(c: np.ndarray) -> np.ndarray:
    noise = smooth(c[:, 10:13])
    horizon = _u(c, 0, 0.68, 0.82)
    glow = np.clip(_Y / horizon + 0.1 * noise, 0, 1)
    sky = _mix(_colour(0.30, 0.12, 0.42), _colour(0.98, 0.45, 0.25), np.clip(glow * 1.4, 0, 1))
    sky = _mix(sky, _colour(1.0, 0.72, 0.30), np.clip(glow * 2.4 - 1.4, 0, 1))
    distance = np.hypot(_X - _u(c, 1, 0.15, 0.85), _Y - horizon + _u(c, 2, 0.02, 0.12)) * SIZE
    sun = np.clip(_u(c, 3, 6, 10) - distance + 0.5, 0, 1)
    sky = _mix(sky, _colour(1.0, 0.93, 0.62), sun)
    return _mix(sky, _colour(0.14, 0.06, 0.12), _below(horizon + 0.012 * noise))


def _plain(c: np.ndarray) -> np.ndarray:
    base = (0.45 + 0.27 * c[:, :1] + 0.05 * (c[:, 1:4] - 0.5))[:, :, None, None]
    slope = _u(c, 4, -0.08, 0.08) * (_X - 0.5) + _u(c, 5, -0.08, 0.08) * (_Y - 0.5)
    return base + slope[:, None]


_PAINTERS = {
    "sea": _sea,
    "forest": _forest,
    "desert": _desert,
    "snow": _snow,
    "city": _city,
    "meadow": _meadow,
    "sunset": _sunset,
    "plain": _plain,
}


def paint(place: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Backgrounds for place codes [scene] and chance [scene, CHANCE]: float32 [scene, 3, SIZE, SIZE] in about 0–1."""
    canvas = np.empty((len(place), 3, SIZE, SIZE), dtype=np.float32)
    for code, name in enumerate(ATTRIBUTES["place"]):
        here = np.flatnonzero(place == code)
        if len(here):
            canvas[here] = _PAINTERS[str(name)](chance[here])
    return canvas
