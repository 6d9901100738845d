"""Scenes that several tests look at, rendered once."""

from __future__ import annotations

import pytest

from summand.scenes import Scenes, sample


@pytest.fixture(scope="session")
def singles() -> Scenes:
    """Scenes with one group."""
    return sample(400, seed=11)


@pytest.fixture(scope="session")
def doubles() -> Scenes:
    """Scenes with two groups."""
    return sample(150, seed=12, groups=2)
