"""A number that is NaN or infinite ends in an error that names the row, never in a choice."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand import Effects, Moments, SummandError, TopImages, rank_one, sparse_code, textspan
from summand.studies.retrieve.index import Index
from summand.text.contributions import texts_of_images, words_of_directions, words_of_images
from summand.text.evidence import held_out
from summand.text.labels import importance, label_heads
from summand.towers.finite import check_finite, power_of_two

BAD = [float("nan"), float("inf"), -float("inf")]


def spoilt(tensor: torch.Tensor, bad: float, row: int) -> torch.Tensor:
    found = tensor.contiguous().clone()
    found.view(len(found), -1)[row, -1] = bad
    return found


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


E, TEXTS = Effects(draw(20, 3, 2, 5), draw(3, 2, 5, 7, seed=1), ("layer", "head")), draw(6, 7, seed=2)
M = Moments().update(E)
CODE = sparse_code(draw(4, 7, seed=3), TEXTS, 3)

REFUSED = {
    "textspan from moments": lambda bad, row: textspan(M, spoilt(TEXTS, bad, row), 3),
    "textspan from outputs": lambda bad, row: textspan(E.vectors()[:, 0, 0], spoilt(TEXTS, bad, row), 3),
    "outputs": lambda bad, row: textspan(spoilt(E.vectors(), bad, row), TEXTS, 3),
    "targets": lambda bad, row: sparse_code(spoilt(draw(6, 7), bad, row), TEXTS, 3),
    "atoms": lambda bad, row: sparse_code(draw(2, 7), spoilt(TEXTS, bad, row), 3),
    "atoms, non-negative": lambda bad, row: sparse_code(draw(2, 7), spoilt(TEXTS, bad, row), 3, nonnegative=True),
    "directions to describe": lambda bad, row: words_of_directions(
        spoilt(TEXTS, bad, row), draw(4, 7), CODE.indices, CODE.coefficients, 6
    ),
    "amounts": lambda bad, row: texts_of_images(spoilt(draw(6, 4), bad, row), CODE.indices, CODE.coefficients, 6),
    "held-out signal": lambda bad, row: held_out(spoilt(draw(9, 2), bad, row), draw(9, 2, seed=4), 0.2),
    "class texts": lambda bad, row: importance(M, spoilt(TEXTS, bad, row)),
    "queries": lambda bad, row: Index(np.ones((4, 7), np.float32), np.arange(4), ()).search(spoilt(TEXTS, bad, row), 2),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("what", REFUSED)
def test_the_row_is_named(what, bad):
    for row in (0, 3):
        with pytest.raises(SummandError, match=rf"NaN or infinite numbers, the first is [a-z -]+ {row}; \w+"):
            REFUSED[what](bad, row)


@pytest.mark.parametrize("bad", BAD)
def test_statistics_that_are_not_finite_are_refused(bad):
    for mean, covariance in ((M.mean * bad, M.covariance), (M.mean, M.covariance * bad)):
        broken = Moments.restore(20, mean, covariance, M.basis, M.units, M.paths)
        shares = torch.ones(3, 2)
        label = partial(label_heads, layers=[0, 1], texts="abcdef", embeddings=TEXTS, shares=shares)
        for ask in (lambda m: textspan(m, TEXTS, 3), rank_one, label):
            with pytest.raises(SummandError, match="NaN or infinite"):
                ask(broken)
    broken = Effects(E.coefficients, spoilt(E.directions, bad, 1), E.units)
    for take in (Moments().update, lambda e: TopImages(2, M.mean).update(e, range(20))):
        with pytest.raises(SummandError, match="a weight of the model"):
            take(broken)
    moments = Moments.restore(20, M.mean, M.covariance, broken.basis, M.units, M.paths)
    for ask in (lambda m: textspan(m, TEXTS, 3), rank_one):
        with pytest.raises(SummandError, match="NaN or infinite"):
            ask(moments)


@pytest.mark.parametrize("bad", BAD)
def test_codes_and_norms_that_are_not_finite_are_refused(bad):
    active = torch.ones(3, 4, dtype=torch.bool)
    for code in (CODE.coefficients * bad,):
        with pytest.raises(SummandError, match="NaN or infinite"):
            words_of_images(draw(3, 4).abs(), active, CODE.indices, code, 6)
    with pytest.raises(SummandError, match="NaN or infinite"):
        words_of_images(spoilt(draw(3, 4).abs(), bad, 1), active, CODE.indices, CODE.coefficients, 6)
    with pytest.raises(SummandError, match="descriptions predict"):
        held_out(draw(9, 2), spoilt(draw(9, 2), bad, 2), 0.2)
    features = np.ones((4, 7), np.float32)
    features[2, 1] = bad
    with pytest.raises(SummandError, match="searched images"):
        Index(features, np.arange(4), ()).search(TEXTS, 2)


def test_texts_of_zeros_are_never_picked_and_nothing_but_zeros_is_refused():
    zeros = TEXTS.double().clone()
    zeros[[0, 4]] = 0
    kept = [1, 2, 3, 5]
    found, expected = textspan(M, zeros, 4).indices, textspan(M, zeros[kept], 4).indices
    assert torch.equal(found, torch.tensor(kept)[expected])
    coded = sparse_code(draw(5, 7), zeros, 4, centre=False).indices
    assert torch.equal(coded, torch.tensor(kept)[sparse_code(draw(5, 7), zeros[kept], 4, centre=False).indices])
    with pytest.raises(SummandError, match="every text is a vector of zeros"):
        textspan(M, torch.zeros(6, 7), 3)


@given(st.integers(-400, 400), st.integers(0, 50))
def test_the_size_of_the_texts_does_not_choose_them(exponent, seed):
    texts = draw(12, 7, seed=seed).double()
    found, expected = textspan(M, texts * 2.0**exponent, 5), textspan(M, texts, 5)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.explained, expected.explained)


@given(st.integers(-100, 100), st.integers(-100, 100), st.booleans(), st.integers(0, 50))
def test_the_size_of_targets_and_atoms_does_not_choose_the_atoms(of_targets, of_atoms, nonnegative, seed):
    targets, atoms = draw(3, 7, seed=seed), draw(20, 7, seed=seed + 1)
    found = sparse_code(targets * 2.0**of_targets, atoms * 2.0**of_atoms, 4, nonnegative=nonnegative)
    expected = sparse_code(targets, atoms, 4, nonnegative=nonnegative)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.coefficients, expected.coefficients * 2.0**of_targets)
    assert torch.equal(found.cosine, expected.cosine)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from([torch.float32, torch.float64]))
def test_a_power_of_two_divides_without_rounding(number, dtype):
    value = torch.tensor([number], dtype=dtype)
    power = power_of_two(value)
    assert torch.isfinite(power)
    assert float(power) > 0
    assert torch.equal(value / power * power, value)
    assert abs(float(value / power)) < 2


def test_numbers_that_only_overflow_their_sum_are_finite():
    check_finite(torch.full((3, 4), 3e38), "row", "")
