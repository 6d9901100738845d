from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand import Effects, Moments, SummandError
from summand.towers import factored as module
from summand.towers.directions import Directions, alike
from summand.towers.factored import Factored


def factored(units=(3, 2), path=4, channel=3, embed=5, shared=1, seed=0) -> tuple[Factored, torch.Tensor]:
    """A factored tensor and, by explicit loops, the dense one that it stands for."""
    g = torch.Generator().manual_seed(seed)
    left = torch.randn(*units, path, channel, generator=g, dtype=torch.float64)
    right = torch.randn(*(*units, path)[len(units) + 1 - shared :], channel, embed, generator=g, dtype=torch.float64)
    dense = torch.zeros(*units, path, embed, dtype=torch.float64)
    for place in torch.cartesian_prod(*[torch.arange(size) for size in (*units, path)]).tolist():
        for c in range(channel):
            dense[tuple(place)] += left[(*place, c)] * right[(*place[len(place) - shared :], c)]
    return Factored(left, right), dense


@given(
    units=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    path=st.integers(1, 4),
    shared=st.integers(1, 3),
    at_once=st.sampled_from([1, 20, 1 << 24]),
    seed=st.integers(0, 50),
)
def test_factors_give_what_the_dense_tensor_gives(units, path, shared, at_once, seed):
    units = tuple(units)
    basis, dense = factored(units, path, shared=min(shared, len(units) + 1), seed=seed)
    images, names = 3, tuple(f"u{i}" for i in range(len(units)))
    coefficients = torch.randn(images, *units, path, dtype=torch.float64)
    through, whole = Effects(coefficients, basis, names), Effects(coefficients, dense, names)
    targets = torch.randn(4, dense.shape[-1], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        torch.testing.assert_close(through.directions, dense)
        torch.testing.assert_close(through.gram, whole.gram)
        torch.testing.assert_close(through.vectors(), whole.vectors())
        torch.testing.assert_close(through.norms(), whole.norms())
        torch.testing.assert_close(through.toward(targets), whole.toward(targets))
        torch.testing.assert_close(through.select([0]).vectors(), whole.vectors()[:, :1])
        torch.testing.assert_close(through.basis.combine(coefficients[0]), whole.vectors()[0])
        units_alone = tuple(range(1, whole.vectors().ndim - 1))
        torch.testing.assert_close(through.basis.total(coefficients), whole.vectors().sum(dim=units_alone))
        torch.testing.assert_close(whole.basis.total(coefficients), whole.vectors().sum(dim=units_alone))
        mine, theirs = Moments().update(through), Moments().update(whole)
        torch.testing.assert_close(mine.mean_vectors(), theirs.mean_vectors())
        torch.testing.assert_close(mine.variance(), theirs.variance())
        torch.testing.assert_close(mine.variance_along(targets), theirs.variance_along(targets))
        if len(units) == 2:
            torch.testing.assert_close(through.sum_over_last_unit().vectors(), whole.vectors().sum(dim=2))
            torch.testing.assert_close(whole.sum_over_last_unit().norms(), whole.vectors().sum(dim=2).norm(dim=-1))


def test_factored_moments_merge_only_with_their_own_units():
    first, _ = factored(seed=0)
    again, _ = factored(seed=0)
    other, _ = factored(seed=1)
    c = torch.randn(3, 3, 2, 4, dtype=torch.float64)
    moments = Moments().update(Effects(c, first, ("a", "b")))
    assert moments.update(Effects(c, again, ("a", "b"))).count == 6
    with pytest.raises(SummandError, match="different units"):
        moments.update(Effects(c, other, ("a", "b")))


def test_factors_that_do_not_fit_are_refused(unchecked):
    with pytest.raises(SummandError, match="must agree"):
        Factored(torch.zeros(3, 4, 2), torch.zeros(5, 2, 6))
    with pytest.raises(SummandError, match="must agree"):
        Factored(torch.zeros(3, 4, 2), torch.zeros(4, 3, 6))


@given(exponent=st.integers(-30, 30), whole=st.booleans(), seed=st.integers(0, 20))
def test_units_are_told_apart_whatever_the_size_of_their_directions(exponent, whole, seed):
    """LayerScale begins at 1e-6: everything a head writes is then small, and the head is a head of its own model."""
    size = 2.0**exponent
    first, _ = factored(seed=seed)
    other, _ = factored(seed=seed + 1)
    scaled = [Factored(basis.left.float(), basis.right.float() * size) for basis in (first, other)]
    mine, theirs = [Directions.of(each.dense()) if whole else each for each in scaled]
    rounded = Directions.of(mine.dense() * (1 + 1e-6 * torch.randn(mine.shape))) if whole else first
    c = torch.randn(3, 3, 2, 4)
    moments = Moments().update(Effects(c, mine, ("a", "b")))
    with pytest.raises(SummandError, match="different units"):
        moments.merge(Moments().update(Effects(c, theirs, ("a", "b"))))
    with pytest.raises(SummandError, match="different units"):  # a factor of 2 is no rounding either
        moments.merge(Moments().update(Effects(c, Directions.of(mine.dense() * 2), ("a", "b"))))
    if whole:
        assert moments.update(Effects(c, rounded, ("a", "b"))).count == 6


def test_one_small_unit_beside_large_ones_is_told_apart():
    """A layer whose LayerScale stayed at its start, in a model whose other layers have grown."""
    first, second = torch.randn(4, 6, 8), torch.randn(4, 6, 8)
    first[1:], first[0], second[1:] = second[1:], first[0] * 1e-6, second[1:]
    second[0] *= 1e-6
    assert not alike(first, second)
    assert alike(first, first.clone())
    assert alike(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
    assert not alike(torch.full((2, 3, 4), torch.nan), torch.zeros(2, 3, 4))
