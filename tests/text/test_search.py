"""The screened search answers what the full product answers, and its bounds hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from summand.text.pursuit import pursue, pursue_nonnegative
from summand.text.screen import CHUNK, Screen, fast_integers
from summand.text.search import Search
from summand.text.sparse import _first_of_equal, prepare_atoms, sparse_code

pytestmark = pytest.mark.skipif(
    not fast_integers(), reason="this processor has no fast and exact products of 8-bit integers: nothing is screened"
)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clustered(seed, atoms, embed, centres, spread):
    return draw(seed, centres, embed).repeat(-(-atoms // centres), 1)[:atoms] + spread * draw(seed + 1, atoms, embed)


def outlying(seed, rows, embed, strength=50.0):
    strengths = torch.ones(embed)
    strengths[0], strengths[embed // 2] = strength, 0.01
    return draw(seed, rows, embed) * strengths


CASES = {
    "random": (draw(1, 24, 64), draw(2, 3000, 64)),
    "clusters, correlation 0.998": (draw(1, 24, 64), clustered(2, 3000, 64, 300, 0.04)),
    "one cluster": (draw(1, 24, 64), clustered(2, 1000, 64, 1, 0.01)),
    "outlying dimensions": (outlying(1, 24, 64), outlying(2, 3000, 64)),
    "duplicates": (draw(1, 24, 64), draw(2, 700, 64).repeat(3, 1)),
    "few atoms make up the targets": (draw(1, 24, 2) @ draw(2, 700, 64)[:2], draw(2, 700, 64)),
    "few dimensions": (draw(1, 24, 5), draw(2, 500, 5)),
    "zeros": (draw(1, 24, 64) * (torch.arange(24) % 3 > 0)[:, None], draw(2, 500, 64)),
    "tiny": (draw(1, 24, 64) * 1e-37, draw(2, 500, 64)),
    "huge": (draw(1, 24, 64) * 1e15, draw(2, 500, 64)),
    "lengths of all kinds": (draw(1, 24, 64), draw(2, 2000, 64) * torch.logspace(-3, 2, 2000)[:, None]),
}


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_screened_pursuit_picks_what_the_full_one_picks(case, nonnegative):
    targets, atoms = CASES[case]
    dictionary = atoms if case == "lengths of all kinds" else prepare_atoms(atoms)
    first = _first_of_equal(dictionary)
    size = 6 if nonnegative else 12
    full, screened = (Search(dictionary, first, len(targets), screened=way) for way in (False, True))
    work = pursue_nonnegative if nonnegative else pursue
    expected, weights = work(targets, dictionary, full, size)
    found, found_weights = work(targets, dictionary, screened, size)
    assert torch.equal(found, expected)
    torch.testing.assert_close(found_weights, weights)


@pytest.mark.parametrize("signed", [False, True])
def test_atoms_taken_before_do_not_count(signed):
    targets, dictionary = draw(3, 20, 32), F.normalize(draw(4, 900, 32), dim=1)
    search = Search(dictionary, torch.arange(900), 20, screened=True)
    truth = targets.double() @ dictionary.double().T
    order = (truth.abs() if signed else truth).argsort(dim=1, descending=True)
    for step in range(4):
        best, strength = search.strongest(targets, order[:, :step], signed)
        assert torch.equal(best, order[:, step])
        expected = truth.gather(1, best[:, None])[:, 0]
        torch.testing.assert_close(strength.double(), expected.abs() if signed else expected, rtol=1e-5, atol=1e-6)


@given(
    st.integers(1, 90),
    st.integers(1, 40),
    st.sampled_from(["random", "outlying", "clustered", "duplicates"]),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_the_bounds_never_exclude_the_largest(atoms, embed, kind, signed, seed):
    residual = draw(seed, 5, embed) * torch.logspace(-4, 4, 5)[:, None]
    dictionary = {
        "random": lambda: draw(seed + 1, atoms, embed),
        "outlying": lambda: outlying(seed + 1, atoms, embed),
        "clustered": lambda: clustered(seed + 1, atoms, embed, 3, 1e-3),
        "duplicates": lambda: draw(seed + 1, 1, embed).expand(atoms, -1).clone(),
    }[kind]()
    exact = residual.double() @ dictionary.double().T
    exact = exact.abs() if signed else exact
    screen = Screen(dictionary)
    found = screen.estimates(residual, signed)
    places = screen.order.argsort()[:atoms]  # of each atom
    chunks, members = places // CHUNK, places % CHUNK
    integers = found.of_atoms[chunks, members].T
    estimate = integers * found.units[0][chunks] * found.units[1][:, None]
    assert ((estimate - exact).abs() <= found.slack()[chunks].T).all()
    assert torch.equal(found.largest, found.of_atoms.amax(dim=1))
    largest, best = exact.max(dim=1)
    least = found.least(largest.float())[chunks].T
    assert (integers >= least).gather(1, best[:, None]).all()
    every = (found.of_atoms * found.units[0][:, None, None]).flatten(0, 1)  # with the zeros past the last atom
    torch.testing.assert_close(every.gather(0, found.top()[None])[0], every.amax(dim=0))


def test_the_bounds_leave_few_atoms_to_look_at():
    """What the screen is for, counted: also where one dimension is ten times the others."""
    for strength in (1, 10):
        targets, atoms = outlying(5, 32, 256, strength), outlying(6, 8000, 256, strength)
        dictionary = prepare_atoms(atoms)
        search = Search(dictionary, torch.arange(8000), 32, screened=True)
        found = search._screen.estimates(targets, True)
        known = (targets @ dictionary.T).abs().amax(dim=1)
        assert (found.of_atoms >= found.least(known)[:, None]).sum(dim=(0, 1)).float().median() < 20
        pursue(targets, dictionary, search, 16)
        assert search.in_full < 0.1 * 16 * 32


def test_sums_at_the_limit_of_the_codes_are_exact():
    """Every entry at ±127 of its scale: nothing saturates, and the bound is nearly zero."""
    signs = draw(7, 70, 16).sign()
    screen = Screen(signs)
    screen.rotation = torch.eye(16)
    screen.codes[:70] = (127 * signs[screen.order[:70]]).to(torch.int8)
    screen.units[:], screen.error[:] = 1 / 127, 0.0
    found = screen.estimates(signs[:20], signed=False)
    estimate = found.of_atoms.flatten(0, 1)[:70].T * found.units[0][0] * found.units[1][:, None]
    torch.testing.assert_close(estimate, signs[:20] @ signs[screen.order[:70]].T)
    assert (found.slack() < 1e-3).all()


def test_small_searches_and_double_precision_are_not_screened():
    small, large = draw(8, 100, 4), draw(8, 5000, 4)
    assert Search(small, torch.arange(100), 1000)._screen is None
    assert Search(large, torch.arange(5000), 2)._screen is None
    assert Search(large.double(), torch.arange(5000), 1000)._screen is None
    assert (Search(large, torch.arange(5000), 1000)._screen is not None) == fast_integers()


def test_sparse_codes_are_the_same_with_and_without_the_screen(monkeypatch):
    targets, atoms = draw(9, 40, 48), draw(10, 5000, 48)
    here = sparse_code(targets, atoms, 10)
    for answer in (True, False):
        monkeypatch.setattr("summand.text.search.fast_integers", lambda answer=answer: answer)
        found = sparse_code(targets, atoms, 10)
        assert torch.equal(found.indices, here.indices)
        torch.testing.assert_close(found.coefficients, here.coefficients)
