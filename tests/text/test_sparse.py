from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp

from summand import SummandError
from summand.text.sparse import prepare_atoms, sparse_code

CLIP_VECTORS = Path(__file__).parents[3] / "shared" / "data" / "clip_vectors"


def random_case(targets, atoms, embed, seed):
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randn(n, embed, generator=g, dtype=torch.float64)  # noqa: E731
    return draw(targets), draw(atoms)


def same_as_scikit_learn(targets, dictionary, size, found, tolerance):
    for row in range(len(targets)):
        expected = orthogonal_mp(dictionary.numpy().T, targets[row].numpy(), n_nonzero_coefs=size)
        support = found.indices[row][found.indices[row] >= 0].numpy()
        assert set(support) == set(np.flatnonzero(expected))
        np.testing.assert_allclose(found.coefficients[row][: len(support)], expected[support], atol=tolerance)


@given(st.integers(1, 4), st.integers(5, 60), st.integers(4, 20), st.integers(1, 5), st.integers(0, 300))
def test_supports_and_coefficients_are_those_of_scikit_learn(targets, atoms, embed, size, seed):
    t, a = random_case(targets, atoms, embed, seed)
    size = min(size, embed - 1)
    found = sparse_code(t, a, size)
    same_as_scikit_learn(t, prepare_atoms(a), size, found, 1e-8)
    torch.testing.assert_close(found.cosine, torch.cosine_similarity(t, found.reconstruction))


@pytest.mark.skipif(not CLIP_VECTORS.is_dir(), reason="the genuine CLIP vectors are not at hand")
def test_on_genuine_clip_text_vectors():
    atoms = torch.from_numpy(np.load(CLIP_VECTORS / "lvis_v1_clip_a+cname.npy")).double()
    targets = torch.from_numpy(np.load(CLIP_VECTORS / "coco_clip_a+cname.npy")).double()[:12]
    found = sparse_code(targets, atoms, 16)
    same_as_scikit_learn(targets, prepare_atoms(atoms), 16, found, 1e-4)


def test_single_precision_agrees_with_double():
    t, a = random_case(6, 400, 64, 1)
    exact, rough = sparse_code(t, a, 20), sparse_code(t.float(), a.float(), 20)
    assert (exact.indices == rough.indices).float().mean() > 0.95
    torch.testing.assert_close(rough.cosine.double(), exact.cosine, atol=1e-3, rtol=0)


def test_blocks_do_not_change_the_answer(monkeypatch):
    t, a = random_case(7, 50, 16, 2)
    whole = sparse_code(t, a, 5)
    monkeypatch.setattr("summand.text.sparse._BLOCK_BYTES", 1)
    parts = sparse_code(t, a, 5)
    assert torch.equal(whole.indices, parts.indices)
    torch.testing.assert_close(whole.coefficients, parts.coefficients)


def test_a_sparse_direction_is_found_again():
    _, a = random_case(1, 300, 128, 3)
    dictionary = prepare_atoms(a)
    target = (2 * dictionary[5] - dictionary[17] + 0.5 * dictionary[200])[None]
    found = sparse_code(target, a, 10)
    assert set(found.indices[0][:3].tolist()) == {5, 17, 200}
    assert found.indices[0][3:].eq(-1).all()  # nothing is left to explain
    assert found.cosine.item() == pytest.approx(1)


def test_nonnegative_codes_are_the_nonnegative_fit_of_their_support():
    t, a = random_case(5, 80, 24, 4)
    found = sparse_code(t, a, 6, nonnegative=True)
    dictionary = prepare_atoms(a)
    assert (found.coefficients >= 0).all()
    for row in range(5):
        support = found.indices[row][found.indices[row] >= 0]
        best, _ = nnls(dictionary[support].numpy().T, t[row].numpy())
        np.testing.assert_allclose(found.coefficients[row][: len(support)], best, atol=1e-5)


def test_parity_is_the_released_scaling():
    t, a = random_case(3, 40, 8, 5)
    unit = 100 * a.numpy() / np.linalg.norm(a.numpy(), axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    released = 100 * centred / np.linalg.norm(centred, axis=0)
    np.testing.assert_allclose(prepare_atoms(a, parity="paper"), released)
    found = sparse_code(t, a, 4, parity="paper")
    same_as_scikit_learn(t, torch.from_numpy(released), 4, found, 1e-6)


def test_ties_go_to_the_first_atom():
    t, a = random_case(3, 20, 8, 6)
    assert (sparse_code(t, torch.cat([a, a]), 3).indices < 20).all()


def test_mistakes_are_named(unchecked):
    t, a = random_case(2, 5, 4, 7)
    with pytest.raises(SummandError, match="must share embed"):
        sparse_code(t, a[:, :3], 2)
    with pytest.raises(SummandError, match="between 1 and the number of atoms"):
        sparse_code(t, a, 6)
    with pytest.raises(SummandError, match="all the same"):
        sparse_code(t, a[:1].expand(5, -1), 2)
    with pytest.raises(SummandError, match="NaN"):
        sparse_code(t * torch.nan, a, 2)
