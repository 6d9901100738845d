"""How alike images are, on sets whose likeness is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from summand.statistics import likeness
from summand.statistics.likeness import clarity, halves, twins


def around(*centres: int, count: int = 10, spread: float = 0.3, seed: int = 0) -> torch.Tensor:
    """So many points about each of some axes of a space of 40."""
    draw = torch.Generator().manual_seed(seed)
    axes = torch.eye(40, dtype=torch.float64)[list(centres)].repeat_interleave(count, dim=0)
    return axes + spread * torch.randn(axes.shape, generator=draw, dtype=torch.float64) / 40**0.5


@given(st.integers(2, 7), st.integers(0, 100))
def test_clarity_is_the_mean_cosine_of_pairs(count, seed):
    points = torch.randn(3, count, 5, generator=torch.Generator().manual_seed(seed)).double()
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    cosines = [np.mean([float(F.cosine_similarity(one[i], one[j], dim=0)) for i, j in pairs]) for one in points]
    np.testing.assert_allclose(clarity(points), cosines, atol=1e-12)


def test_two_things_fall_apart_and_one_does_not():
    mixed = torch.stack([around(0, 1), around(2, count=20), around(*range(20), count=1)])
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    found = halves(mixed[:, order])
    side = found.side[0][order.argsort()]
    assert side[:10].unique().numel() == side[10:].unique().numel() == 1
    assert side[0] != side[10]
    two, one, many = zip(found.within.tolist(), found.between.tolist(), strict=True)
    assert two[0] > 0.8
    assert abs(two[1]) < 0.1
    assert one[1] > 0.8  # whatever the halves, their images are alike
    assert many[0] < 0.3


def test_the_means_within_and_between_are_those_of_the_halves():
    points = torch.randn(4, 9, 6, generator=torch.Generator().manual_seed(3)).double()
    found = halves(points)
    unit = F.normalize(points, dim=-1)
    for row, side in enumerate(found.side):
        pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
        same = [float(unit[row, i] @ unit[row, j]) for i, j in pairs if side[i] == side[j]]
        other = [float(unit[row, i] @ unit[row, j]) for i, j in pairs if side[i] != side[j]]
        assert found.within[row] == pytest.approx(np.mean(same))
        assert found.between[row] == pytest.approx(np.mean(other))
        assert np.mean(same) > np.mean(other)


def test_twins_are_the_nearest_effects(monkeypatch):
    monkeypatch.setattr(likeness, "_BLOCK", 3)  # more than one block
    draw = torch.Generator().manual_seed(5)
    signals, directions = (torch.randn(30, 8, generator=draw).double(), torch.randn(8, 12, generator=draw).double())
    signals[:, 6], directions[6] = -2 * signals[:, 1] + 3, -0.5 * directions[1]  # the same effect, turned twice
    signals[:, 7], directions[7] = signals[:, 2], -directions[2]  # the opposite effect is no twin
    alike, which = twins(signals, directions)
    effects = torch.einsum("iu,ue->uie", signals - signals.mean(dim=0), directions).flatten(1)
    expected = F.normalize(effects, dim=1) @ F.normalize(effects, dim=1).T
    expected.fill_diagonal_(-2)
    np.testing.assert_allclose(alike, expected.max(dim=1).values, atol=1e-12)
    assert which.tolist() == expected.argmax(dim=1).tolist()
    assert (alike[1], alike[6], which[1], which[6]) == (pytest.approx(1), pytest.approx(1), 6, 1)
    assert alike[2] < 0.9
