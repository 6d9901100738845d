from __future__ import annotations

import numpy as np
import pytest
import torch

from summand import Effects, Moments, SummandError, TopImages, rank_one
from tests.towers.test_directions import factored


def sample(images: int, path: int, seed: int = 0) -> Effects:
    basis, _ = factored(units=(3,), path=path, channel=6, embed=9, seed=seed)
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(3, path, path, generator=g, dtype=torch.float64)
    coefficients = torch.einsum("inp,npq->inq", torch.randn(images, 3, path, generator=g, dtype=torch.float64), mixing)
    return Effects(coefficients + 0.5, basis, ("neuron",))


@pytest.mark.parametrize(("path", "k"), [(1, 12), (4, 12), (7, 5)])
def test_the_direction_is_the_svd_of_the_top_dense_effects_as_the_paper_has_it(path, k):
    e = sample(40, path)
    moments = Moments().update(e)
    top = TopImages(k, moments.mean).update(e, range(40))
    found = rank_one(top)
    centred = (e.vectors() - e.vectors().mean(dim=0)).numpy()
    for n in range(3):
        best = np.argsort(-np.linalg.norm(centred[:, n], axis=1))[:k]
        _, singular, right = np.linalg.svd(centred[best, n], full_matrices=False)  # not centred again
        along = centred[best, n] @ right[0]
        positive = int((along > 0).sum())
        r = right[0] * (1 if positive * 2 > k or (positive * 2 == k and along.sum() > 0) else -1)
        np.testing.assert_allclose(found.directions[n], r, atol=1e-9)
        share = (singular**2).cumsum() / (singular**2).sum()
        size = min(found.explained.shape[-1], len(share))
        np.testing.assert_allclose(found.explained[n][:size], share[:size], atol=1e-9)
        np.testing.assert_allclose(found.project(e)[:, n], centred[:, n] @ r, atol=1e-9)
        np.testing.assert_allclose(found.project(top)[n], centred[best, n] @ r, atol=1e-9)
        rebuilt = np.outer(centred[:, n] @ r, r) + e.vectors()[:, n].numpy().mean(axis=0)
        np.testing.assert_allclose(found.reconstruct(e).vectors()[:, n], rebuilt, atol=1e-9)
    np.testing.assert_allclose(found.offsets, e.vectors().mean(dim=0), atol=1e-12)


def test_from_moments_it_is_the_first_principal_component_of_all_images():
    e = sample(40, 4)
    found = rank_one(Moments().update(e))
    centred = (e.vectors() - e.vectors().mean(dim=0)).numpy()
    for n in range(3):
        _, singular, right = np.linalg.svd(centred[:, n], full_matrices=False)
        r = right[0] * np.sign(right[0] @ e.vectors()[:, n].numpy().mean(axis=0))
        np.testing.assert_allclose(found.directions[n], r, atol=1e-9)
        np.testing.assert_allclose(found.explained[n], ((singular**2).cumsum() / (singular**2).sum())[:4], atol=1e-9)


def test_all_components_give_the_effects_back_and_a_single_path_needs_one():
    e = sample(30, 4)
    moments = Moments().update(e)
    torch.testing.assert_close(rank_one(moments, components=4).reconstruct(e).vectors(), e.vectors())
    pairs = sample(30, 1)
    found = rank_one(Moments().update(pairs))
    torch.testing.assert_close(found.reconstruct(pairs).vectors(), pairs.vectors())
    torch.testing.assert_close(found.explained, torch.ones(3, 1, dtype=torch.float64))
    unit = torch.nn.functional.normalize(pairs.directions[:, 0], dim=-1)
    torch.testing.assert_close((found.directions * unit).sum(dim=-1).abs(), torch.ones(3, dtype=torch.float64))


def test_a_unit_that_never_varies_has_no_direction():
    e = sample(8, 4)
    e.coefficients[:, 1] = 3
    moments = Moments().update(e)
    for found in (rank_one(moments), rank_one(TopImages(5, moments.mean).update(e, range(8)))):
        assert torch.isfinite(found.directions).all()
        assert not found.directions[1].any()
        assert not found.explained[1].any()


def test_mistakes_are_named(unchecked):
    e = sample(8, 4)
    with pytest.raises(SummandError, match="have 4 components, not 5"):
        rank_one(Moments().update(e), components=5)
    with pytest.raises(SummandError, match="other units"):
        rank_one(Moments().update(e)).project(sample(8, 4, seed=1))
    with pytest.raises(SummandError, match="at least 2 images, got 1"):
        rank_one(Moments().update(sample(1, 4)))
    with pytest.raises(SummandError, match="takes TopImages or Moments"):
        rank_one(e)
