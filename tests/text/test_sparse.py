from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp

from summand import SummandError
from summand.text.pursuit import fit_nonnegative
from summand.text.sparse import prepare_atoms, sparse_code

CLIP_VECTORS = Path(os.environ.get("SUMMAND_DATA", "")) / "clip_vectors"


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


@pytest.mark.skipif(
    "SUMMAND_DATA" not in os.environ or not CLIP_VECTORS.is_dir(),
    reason="SUMMAND_DATA names no folder with genuine CLIP vectors",
)
@pytest.mark.parametrize("parity", [None, "paper"])
def test_on_genuine_clip_text_vectors(parity):
    atoms = torch.from_numpy(np.load(CLIP_VECTORS / "lvis_v1_clip_a+cname.npy")).double()
    targets = torch.from_numpy(np.load(CLIP_VECTORS / "coco_clip_a+cname.npy")).double()[:12]
    targets = targets - targets.mean(dim=0)
    for of_texts in (targets, torch.nn.functional.normalize(targets.flip(0) + targets.roll(3, dims=0), dim=1)):
        found = sparse_code(of_texts, atoms, 16, parity=parity)
        same_as_scikit_learn(of_texts, prepare_atoms(atoms, parity=parity), 16, found, 1e-4)


def test_single_precision_agrees_with_double():
    t, a = random_case(6, 400, 64, 1)
    exact, rough = sparse_code(t, a, 20), sparse_code(t.float(), a.float(), 20)
    assert (exact.indices == rough.indices).float().mean() > 0.95
    assert rough.coefficients.dtype == torch.float32
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


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_go_to_the_first_atom(nonnegative, dtype):
    t, a = random_case(40, 67, 8, 6)
    t, a = t.to(dtype), a.to(dtype)
    shuffled = torch.cat([a, a[torch.randperm(67, generator=torch.Generator().manual_seed(1))], a])
    found = sparse_code(t, shuffled, 6, nonnegative=nonnegative).indices
    assert (found < 67).all()
    for row in found.tolist():
        picked = [index for index in row if index >= 0]
        assert len(set(picked)) == len(picked)


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 4), st.integers(0, 500))
def test_the_nonnegative_fit_is_that_of_scipy(k, embed, repeated, seed):
    rng = np.random.default_rng(seed)
    picks, targets = rng.standard_normal((3, k, embed)), rng.standard_normal((3, embed))
    picks[:, : min(repeated, k)] = picks[:, -1:]  # atoms that say the same: the weights are not unique, the fit is
    gram, wanted = torch.from_numpy(picks @ picks.transpose(0, 2, 1)), torch.from_numpy(picks @ targets[..., None])
    weights = fit_nonnegative(gram, wanted[..., 0], torch.zeros(3, k, dtype=torch.float64)).numpy()
    assert (weights >= 0).all()
    for row in range(3):
        _, distance = nnls(picks[row].T, targets[row])
        assert np.linalg.norm(targets[row] - weights[row] @ picks[row]) == pytest.approx(distance, abs=1e-6)


def test_a_target_of_zeros_has_no_code():
    t, a = random_case(3, 30, 8, 8)
    t[1] = 0
    for nonnegative in (False, True):
        found = sparse_code(t, a, 4, nonnegative=nonnegative)
        assert found.indices[1].tolist() == [-1] * 4
        assert not found.coefficients[1].any()
        assert not found.reconstruction[1].any()
        assert found.cosine[1] == 0
        assert (found.indices[0][:2] >= 0).all()
    none = sparse_code(t[:0], a, 4)
    assert none.indices.shape == none.coefficients.shape == (0, 4)
    assert none.reconstruction.shape == (0, 8)


def test_a_full_span_ends_the_code():
    t, a = random_case(4, 30, 6, 9)
    found = sparse_code(t, a, 20)  # 6 dimensions need 6 atoms
    assert (found.indices >= 0).sum(dim=1).tolist() == [6] * 4
    torch.testing.assert_close(found.reconstruction, t)
    few = sparse_code(t, a[:4], 4)  # 4 centred atoms span 3 dimensions
    assert (few.indices >= 0).sum(dim=1).tolist() == [3] * 4


def test_an_atom_at_the_mean_is_no_atom():
    t, a = random_case(20, 30, 6, 10)
    a = a - a.mean(dim=0) + 5
    with_mean = torch.cat([a, a.mean(dim=0, keepdim=True)])
    assert prepare_atoms(with_mean)[-1].abs().max() == 0
    assert (sparse_code(t, with_mean, 6).indices < 30).all()


def test_half_precision_is_worked_out_in_single():
    t, a = random_case(3, 40, 16, 11)
    found = sparse_code(t.half(), a.half(), 4)
    assert found.coefficients.dtype == torch.float32
    torch.testing.assert_close(found.cosine.double(), sparse_code(t, a, 4).cosine, atol=1e-2, rtol=0)


def test_without_centring_one_atom_will_do():
    t, a = random_case(2, 1, 4, 12)
    found = sparse_code(t, a, 1, centre=False)
    unit = a[0] / a[0].norm()
    torch.testing.assert_close(found.coefficients[:, 0], t @ unit)


def test_mistakes_are_named(unchecked):
    t, a = random_case(2, 5, 4, 7)
    with pytest.raises(SummandError, match="must share embed"):
        sparse_code(t, a[:, :3], 2)
    with pytest.raises(SummandError, match="between 1 and the number of atoms"):
        sparse_code(t, a, 6)
    with pytest.raises(SummandError, match="between 1 and the number of atoms"):
        sparse_code(t, a, 0)
    for few in (a[:1], a[:0]):
        with pytest.raises(SummandError, match="at least 2 atoms"):
            sparse_code(t, few, 1)
    with pytest.raises(SummandError, match="all the same"):
        sparse_code(t, (0.1 * a[:1]).expand(5, -1), 2)
    with pytest.raises(SummandError, match="NaN"):
        sparse_code(t * torch.nan, a, 2)
    with pytest.raises(SummandError, match="parity"):
        sparse_code(t, a, 2, parity="code")  # type: ignore[arg-type]
