from __future__ import annotations

import numpy as np
from scipy.ndimage import label

from summand.border import foreign
from summand.scenes.attributes import ATTRIBUTES
from summand.scenes.outlines import EXTENT, RESOLUTION, glyph_tables, look_up, shape_tables


def at(name: str, x: float, y: float) -> float:
    which = np.array([ATTRIBUTES["shape"].index(name)])
    return float(look_up(shape_tables(), which, np.array([[x]]), np.array([[y]]))[0, 0])


def test_there_is_a_table_for_every_shape_and_letter():
    assert shape_tables().shape == (len(ATTRIBUTES["shape"]), RESOLUTION, RESOLUTION)
    assert glyph_tables().shape == (len(ATTRIBUTES["letter"]) - 1, RESOLUTION, RESOLUTION)


def test_distances_of_a_circle_are_exact():
    axis = np.linspace(-EXTENT, EXTENT, RESOLUTION)
    x, y = np.meshgrid(axis, axis)
    assert np.allclose(shape_tables()[ATTRIBUTES["shape"].index("circle")], np.hypot(x, y) - 0.98, atol=1e-6)


def test_shapes_have_their_holes_and_notches():
    assert at("ring", 0, 0) > 0 > at("ring", 0.74, 0)
    assert at("crescent", 0.55, -0.2) > 0 > at("crescent", -0.8, 0)
    assert at("heart", 0, -0.85) > 0 > at("heart", 0.5, -0.6)
    assert at("cross", 0.8, 0.8) > 0 > at("cross", 0.8, 0)
    assert at("arrow", -0.6, 0.6) > 0 > at("arrow", 0.2, 0.6)
    assert at("star", 0, 0.8) > 0 > at("star", 0, -0.8)


def test_every_outline_is_in_one_piece_and_no_two_are_alike():
    inside = np.concatenate([shape_tables(), glyph_tables()]) < 0
    assert all(
        (np.bincount(foreign(label(one))[0].ravel())[1:] > 4).sum() == 1 for one in inside
    )  # a horn may lose its tip
    overlap = (inside[:, None] & inside[None]).sum(axis=(2, 3)) / (inside[:, None] | inside[None]).sum(axis=(2, 3))
    assert (overlap - np.eye(len(inside))).max() < 0.85
