"""Which part of a picture a model sees, in the coordinates of the picture."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from ..models import Model

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels of the picture; its own corners are (0, 0) and (width, height)."""

_STEEP, _FLAT = 250.0, 4.0  # levels of grey over a picture: along the axis that is read, and across it
_EDGE = 0.1  # of a picture, where a resizing filter reaches over the edge
_BENT, _FILTERED = 2.0, 0.2  # how far from a plane a resized ramp may be: levels, and pixels of the model's
_boxes: WeakKeyDictionary[Model, dict[tuple[int, int], Box | None]] = WeakKeyDictionary()


def box_of(model: Model, size: tuple[int, int]) -> Box | None:
    """What the model's preprocessing cuts out of a picture of this size (height, width); beyond the picture where it
    is padded. None where it does something else than to cut and to resize.

    Preprocessing may be anybody's, so it is not read but asked: two ramps of grey, one along each axis, come back as
    planes, and where these have the height of the picture's edges its corners are. Found once for each size.
    """
    known = _boxes.setdefault(model, {})
    if size not in known:
        known[size] = _measured(model, size)
    return known[size]


def _measured(model: Model, size: tuple[int, int]) -> Box | None:
    height, width = size
    down = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    right = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None]
    ramps = np.full((*size, 3), 255, dtype=np.uint8)
    # a little of the other axis, so that levels are rounded up here and down there
    ramps[..., 0], ramps[..., 1] = np.rint(_STEEP * right + _FLAT * down), np.rint(_STEEP * down + _FLAT * right)
    seen = _pixels(model, Image.fromarray(ramps))
    rows, columns = model.tower.image_size
    plain = (columns, rows)  # as pictures say it
    black, white = (_pixels(model, Image.new("RGB", plain, colour)) for colour in ("black", "white"))
    levels = 255 * (seen - black) / np.where(white > black, white - black, np.nan)
    rows, columns = levels.shape[1:]
    inside = (levels[2] > 250) & (np.abs(levels[:2] / _STEEP - 0.5) < 0.5 - _EDGE).all(axis=0)
    if inside.sum() < 4:
        return None
    y, x = np.nonzero(inside)
    plane = np.stack([x + 0.5, y + 0.5, np.ones(len(x))], axis=1)
    found, *_ = np.linalg.lstsq(plane, levels[:2, y, x].T, rcond=None)
    if np.abs(plane @ found - levels[:2, y, x].T).max() > _BENT + _FILTERED * np.abs(found[:2]).max():
        return None
    # levels = mix @ (x / width, y / height), of corners (0, 0) and (columns, rows) of what the model sees
    corners = np.array([[0, 0, 1], [columns, rows, 1]]) @ found
    mix = np.array([[_STEEP, _FLAT], [_FLAT, _STEEP]])
    (left, top), (right_end, bottom) = np.linalg.solve(mix, corners.T).T * (width, height)
    if not (left < right_end and top < bottom):  # along a single pixel nothing rises, and nothing can be measured
        return None
    edges = ((left, 0.0), (top, 0.0), (right_end, float(width)), (bottom, float(height)))
    return tuple(_snapped(value, edge, max(size)) for value, edge in edges)  # type: ignore[return-value]


def _pixels(model: Model, picture: Image.Image) -> np.ndarray:
    return model.preprocess(picture).double().cpu().numpy()


def _snapped(value: float, edge: float, longest: int) -> float:
    """On the picture's edge where it is so within what 8 bits can tell."""
    return edge if abs(value - edge) < max(0.25, longest / 2000) else round(float(value), 1)
