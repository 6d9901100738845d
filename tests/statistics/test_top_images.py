from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from summand import Effects, Moments, SummandError, TopImages
from tests.effects.test_effects import effects
from tests.towers.test_directions import factored


def parts(e: Effects, cuts: list[int]):
    """(effects, ids) of consecutive slices."""
    edges = [0, *sorted(cuts), e.count]
    for a, b in itertools.pairwise(edges):
        yield Effects(e.coefficients[a:b], e.basis, e.units, e.paths), range(a, b)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 20), max_size=3), st.integers(1, 25), st.integers(0, 100))
def test_any_split_and_order_keeps_the_largest_centred_norms(cuts, k, seed):
    e = effects(images=20, seed=seed)
    mean = Moments().update(e).mean
    top = TopImages(k, mean)
    for i, (part, ids) in enumerate(reversed(list(parts(e, cuts)))):
        top = top.merge(TopImages(k, mean).update(part, ids)) if i % 2 else top.update(part, ids)
    norms = (e.vectors() - e.vectors().mean(dim=0)).norm(dim=-1)
    for unit in itertools.product(range(2), range(3)):
        order = np.argsort(-norms[:, *unit].numpy(), kind="stable")[:k]
        np.testing.assert_array_equal(top.ids[unit], order)
        np.testing.assert_allclose(top.norms[unit], norms[:, *unit][order.tolist()], rtol=1e-10)
        np.testing.assert_allclose(top.coefficients[unit], (e.coefficients - mean)[order.tolist()][:, *unit])
    assert top.count == 20


def test_equal_norms_are_ordered_by_id():
    e = Effects(torch.ones(6, 1, 1), torch.ones(1, 1, 2))
    top = TopImages(3, torch.zeros(1, 1)).update(e, [5, 1, 4, 0, 3, 2])
    assert top.ids.tolist() == [[0, 1, 2]]


def test_quantiles_are_exact_where_their_norm_is_kept():
    e = effects(images=50)
    top = TopImages(10, Moments().update(e).mean).update(e, range(50))
    norms = (e.vectors() - e.vectors().mean(dim=0)).norm(dim=-1).numpy()
    for q in (0.82, 0.9, 0.98, 0.999, 1):
        np.testing.assert_allclose(top.quantile(q), np.quantile(norms, q, axis=0, method="inverted_cdf"), rtol=1e-10)
    np.testing.assert_allclose(top.threshold(), np.sort(norms, axis=0)[-10], rtol=1e-10)
    assert torch.equal(top.significant(e), torch.from_numpy(norms >= np.sort(norms, axis=0)[-10]))
    assert (top.significant(e).sum(dim=0) == 10).all()
    with pytest.raises(SummandError, match="between 0 and 1"):
        top.quantile(98)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 60), max_size=3), st.integers(0, 100))
def test_lower_quantiles_are_near_whatever_the_order_and_the_split(cuts, seed):
    e = effects(images=60, seed=seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    scales = torch.logspace(-1, 1, 60, dtype=torch.float64)[order]
    e = Effects(e.coefficients * scales[:, None, None, None], e.basis, e.units, e.paths)
    mean = Moments().update(e).mean
    top, whole = TopImages(5, mean), TopImages(5, mean).update(e, range(60))
    for i, (part, ids) in enumerate(reversed(list(parts(e, cuts)))):
        top = top.merge(TopImages(5, mean).update(part, ids)) if i % 2 else top.update(part, ids)
    norms = (e.vectors() - e.vectors().mean(dim=0)).norm(dim=-1).numpy()
    for q in (0.1, 0.25, 0.5, 0.9):
        assert torch.equal(top.quantile(q), whole.quantile(q))
        np.testing.assert_allclose(top.quantile(q), np.quantile(norms, q, axis=0, method="inverted_cdf"), rtol=0.05)


def test_norms_far_below_the_largest_are_bounded_from_above():
    e = Effects(torch.tensor([1000.0, 1e-3, 0, 0])[:, None, None].double(), torch.ones(1, 1, 1).double())
    top = TopImages(1, torch.zeros(1, 1)).update(e, range(4))
    assert 1e-3 < top.quantile(0.75).item() < 1000 / 350
    nothing = Effects(torch.zeros(4, 1, 1).double(), torch.ones(1, 1, 1).double())
    assert TopImages(1, torch.zeros(1, 1)).update(nothing, range(4)).quantile(0.5).item() == 0


def test_memory_does_not_grow_with_the_images():
    e = effects(images=20)
    mean = Moments().update(e).mean
    moments, top = Moments(), TopImages(4, mean)

    def held():
        tensors = [moments.mean, moments.covariance, top.ids, top.norms, top.coefficients, top._sketch.counts]
        return sum(tensor.numel() for tensor in tensors)

    sizes = set()
    for i in range(6):
        moments.update(e), top.update(e, range(20 * i, 20 * i + 20))
        sizes.add(held())
    assert len(sizes) == 1


def test_one_file_holds_moments_and_top_images_and_the_directions_once(tmp_path):
    basis, _ = factored(units=(30,), path=4, shared=1)
    e = Effects(torch.randn(12, 30, 4, dtype=torch.float64), basis, ("neuron",))
    moments = Moments().update(e)
    top = TopImages(3, moments.mean).update(e, range(12))
    moments.save(tmp_path / "both.npz", top=top), moments.save(tmp_path / "one.npz"), top.save(tmp_path / "other.npz")
    torch.testing.assert_close(Moments.load(tmp_path / "both.npz").covariance, moments.covariance)
    read = TopImages.load(tmp_path / "both.npz")
    assert torch.equal(read.ids, top.ids)
    assert torch.equal(read.quantile(0.3), top.quantile(0.3))
    assert read.merge(top).count == 24
    sizes = {file.stem: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes["both"] < sizes["one"] + sizes["other"] - 8 * basis.left.numel() * 0.8
    with pytest.raises(SummandError, match="saved without top="):
        TopImages.load(tmp_path / "one.npz")
    others = Effects(e.coefficients, factored(units=(30,), path=4, shared=1, seed=1)[0], ("neuron",))
    with pytest.raises(SummandError, match="cannot stand in one file"):
        moments.save(tmp_path / "wrong.npz", top=TopImages(3, moments.mean).update(others, range(12)))


@pytest.mark.parametrize("whole", [True, False])
def test_saved_statistics_come_back_and_go_on(tmp_path, whole):
    basis, dense = factored(units=(3,), path=4, shared=1)
    coefficients = torch.randn(12, 3, 4, dtype=torch.float64)
    names = {"paths": ("later layer", "later head"), "path_index": ((1, 0), (1, 1), (2, 0), (2, 1))}
    e = Effects(coefficients, dense if whole else basis, ("neuron",), **names)
    moments = Moments().update(e)
    top = TopImages(5, moments.mean).update(e, range(100, 112))
    moments.save(tmp_path / "moments.npz"), top.save(tmp_path / "top.npz")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["moments.npz", "top.npz"]
    read, best = Moments.load(tmp_path / "moments.npz"), TopImages.load(tmp_path / "top.npz")
    assert (read.count, read.units, read.paths, read.path_index) == (12, ("neuron",), names["paths"], e.path_index)
    assert (best.count, best.units, best.paths, best.path_index) == (12, ("neuron",), names["paths"], e.path_index)
    torch.testing.assert_close(read.mean, moments.mean, rtol=0, atol=0)
    torch.testing.assert_close(read.covariance, moments.covariance, rtol=0, atol=1e-15)
    assert torch.equal(best.ids, top.ids)
    assert torch.equal(best.coefficients, top.coefficients)
    torch.testing.assert_close(best.norms, top.norms)
    assert len(read.basis.factors()) == len(e.basis.factors())
    torch.testing.assert_close(read.merge(moments).variance(), moments.variance())
    assert best.merge(top).count == 24


def test_mistakes_are_named(tmp_path, unchecked):
    e = effects()
    with pytest.raises(SummandError, match="k must be at least 1"):
        TopImages(0, torch.zeros(2, 3, 5))
    with pytest.raises(SummandError, match="no images yet"):
        _ = TopImages(3, torch.zeros(2, 3, 5)).ids
    with pytest.raises(SummandError, match="one id for each of 4"):
        TopImages(3, torch.zeros(2, 3, 5)).update(e, [1, 2])
    with pytest.raises(SummandError, match="other units"):
        TopImages(3, torch.zeros(2, 3, 4)).update(e, range(4))
    with pytest.raises(SummandError, match="5th largest norm needs at least 5 images, got 4"):
        TopImages(5, torch.zeros(2, 3, 5)).update(e, range(4)).threshold()
    bad = effects(images=4)
    bad.coefficients[0, 0, 0, 0] = torch.nan
    with pytest.raises(SummandError, match="NaN"):
        TopImages(3, torch.zeros(2, 3, 5)).update(bad, range(4))
    with pytest.raises(SummandError, match="different means"):
        TopImages(3, torch.zeros(2, 3, 5)).merge(TopImages(3, torch.ones(2, 3, 5)).update(e, range(4)))
    first = TopImages(3, torch.zeros(2, 3, 5)).update(e, range(4))
    with pytest.raises(SummandError, match="different units"):
        first.merge(TopImages(3, torch.zeros(2, 3, 5)).update(effects(seed=1), range(4)))
    with pytest.raises(SummandError, match="there is no file"):
        Moments.load(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK not a zip")
    with pytest.raises(SummandError, match="is broken"):
        Moments.load(tmp_path / "broken.npz")
    Moments().update(e).save(tmp_path / "moments.npz")
    with pytest.raises(SummandError, match="holds moments, not top images"):
        TopImages.load(tmp_path / "moments.npz")
