from __future__ import annotations

import numpy as np
import pytest

from summand.scenes.attributes import ATTRIBUTES
from summand.scenes.places import CHANCE, SIZE, paint


@pytest.mark.parametrize("code", range(len(ATTRIBUTES["place"])), ids=ATTRIBUTES["place"])
def test_every_place_varies_within_the_colours_of_a_picture(code: int):
    chance = np.random.default_rng(0).random((6, CHANCE), dtype=np.float32)
    pictures = paint(np.full(6, code), chance)
    assert pictures.shape == (6, 3, SIZE, SIZE)
    assert pictures.dtype == np.float32
    assert pictures.min() > -0.2
    assert pictures.max() < 1.2
    assert min(np.abs(pictures[i] - pictures[j]).mean() for i in range(6) for j in range(i)) > 0.01
    assert np.array_equal(pictures[3:4], paint(np.array([code]), chance[3:4]))


def test_places_can_be_told_apart_by_nearest_mean():
    rng = np.random.default_rng(1)
    places = len(ATTRIBUTES["place"])
    which = np.tile(np.arange(places), 20)
    seen, fresh = (paint(which, rng.random((len(which), CHANCE), dtype=np.float32)) for _ in range(2))
    means = seen.reshape(20, places, -1).mean(axis=0)
    distance = ((fresh.reshape(-1, 1, means.shape[1]) - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == which).mean() > 0.95
