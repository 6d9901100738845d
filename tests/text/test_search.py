"""A search that begins in bf16 answers what the product in full answers, and its bounds hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from summand.text.pursuit import pursue, pursue_nonnegative
from summand.text.search import Search, fast_halves
from summand.text.sparse import _first_of_equal, prepare_atoms, sparse_code


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
    "whole numbers, many equal": (draw(1, 24, 6).round(), draw(2, 900, 6).round()),
    "lengths of all kinds": (draw(1, 24, 64), draw(2, 2000, 64) * torch.logspace(-3, 2, 2000)[:, None]),
}


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_pursuit_that_begins_in_bf16_picks_what_the_full_one_picks(case, nonnegative):
    targets, atoms = CASES[case]
    dictionary = atoms if case == "lengths of all kinds" else prepare_atoms(atoms)
    first = _first_of_equal(dictionary)
    size = 6 if nonnegative else 12
    full, halved = (Search(dictionary, first, len(targets), halved=way) for way in (False, True))
    work = pursue_nonnegative if nonnegative else pursue
    expected, weights = work(targets, dictionary, full, size)
    found, found_weights = work(targets, dictionary, halved, size)
    assert torch.equal(found, expected)
    torch.testing.assert_close(found_weights, weights)


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_atoms_taken_before_do_not_count(signed, halved):
    targets, dictionary = draw(3, 20, 32), F.normalize(draw(4, 900, 32), dim=1)
    search = Search(dictionary, torch.arange(900), 20, halved=halved)
    truth = targets.double() @ dictionary.double().T
    order = (truth.abs() if signed else truth).argsort(dim=1, descending=True)
    for step in range(4):
        best, strength = search.strongest(targets, order[:, :step], signed)
        assert torch.equal(best, order[:, step])
        expected = truth.gather(1, best[:, None])[:, 0]
        torch.testing.assert_close(strength.double(), expected.abs() if signed else expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("halved", [False, True])
def test_strong_atoms_that_speak_against_the_target_are_not_picked_again(halved):
    """Correlations far below −1, as with atoms that are not of unit length: one that is taken stays below them."""
    dictionary = 100 * torch.tensor([[1.0, 0.0], [-0.9, 0.1], [-0.5, -0.5]])
    search = Search(dictionary, torch.arange(3), 1, halved=halved)
    best, _ = search.strongest(torch.tensor([[1.0, 0.0]]), torch.tensor([[0]]), signed=True)
    assert best.tolist() == [1]


@given(
    st.integers(1, 300),
    st.integers(1, 40),
    st.sampled_from(["random", "outlying", "clustered", "duplicates"]),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_the_bound_never_excludes_the_largest(atoms, embed, kind, signed, seed):
    residual = draw(seed, 5, embed) * torch.logspace(-4, 4, 5)[:, None]
    dictionary = {
        "random": lambda: draw(seed + 1, atoms, embed),
        "outlying": lambda: outlying(seed + 1, atoms, embed),
        "clustered": lambda: clustered(seed + 1, atoms, embed, 3, 1e-3),
        "duplicates": lambda: draw(seed + 1, 1, embed).expand(atoms, -1).clone(),
    }[kind]()
    exact = residual.double() @ dictionary.double().T
    exact = exact.abs() if signed else exact
    search = Search(dictionary, torch.arange(atoms), 5, halved=True)
    row, atom, many = search._candidates(search._half, residual, torch.empty(5, 0, dtype=torch.long), signed)
    kept = set(zip(row.tolist(), atom.tolist(), strict=True))
    for n, best in enumerate(exact.argmax(dim=1).tolist()):
        # Where every correlation is negative the zeros past the last atom are ahead, and nothing is picked.
        assert n in many.tolist() or (n, best) in kept or exact[n, best] < 1e-5 * residual[n].norm()


def test_few_atoms_are_left_to_multiply_in_full():
    """What beginning in bf16 is for, counted: also where one dimension is ten times the others."""
    for strength in (1, 10):
        targets, atoms = outlying(5, 32, 256, strength), outlying(6, 8000, 256, strength)
        dictionary = prepare_atoms(atoms)
        search = Search(dictionary, torch.arange(8000), 32, halved=True)
        row, _, _ = search._candidates(search._half, targets, torch.empty(32, 0, dtype=torch.long), True)
        assert row.bincount(minlength=32).float().median() < 20
        pursue(targets, dictionary, search, 16)
        assert search.in_full < 0.1 * 16 * 32


def test_small_searches_and_double_precision_are_made_in_full():
    small, large = draw(8, 100, 4), draw(8, 5000, 4)
    assert Search(small, torch.arange(100), 1000)._half is None
    assert Search(large, torch.arange(5000), 2)._half is None
    assert Search(large.double(), torch.arange(5000), 1000)._half is None
    assert (Search(large, torch.arange(5000), 1000)._half is not None) == fast_halves()


def test_sparse_codes_are_the_same_on_every_processor(monkeypatch):
    targets, atoms = draw(9, 40, 48), draw(10, 5000, 48)
    here = sparse_code(targets, atoms, 10)
    for answer in (True, False):
        monkeypatch.setattr("summand.text.search.fast_halves", lambda answer=answer: answer)
        found = sparse_code(targets, atoms, 10)
        assert torch.equal(found.indices, here.indices)
        torch.testing.assert_close(found.coefficients, here.coefficients)
