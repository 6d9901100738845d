from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand import Effects, Moments, SummandError, textspan
from tests.effects.test_effects import effects


def split(e: Effects, cuts: list[int]) -> list[Effects]:
    edges = [0, *sorted(cuts), len(e.coefficients)]
    return [Effects(e.coefficients[a:b], e.directions, e.units, e.paths) for a, b in itertools.pairwise(edges)]


@given(st.lists(st.integers(0, 20), max_size=4), st.integers(0, 100))
def test_any_split_and_order_gives_the_same_moments(cuts, seed):
    e = effects(images=20, seed=seed)
    whole = Moments().update(e)
    merged = Moments()
    for part in reversed(split(e, cuts)):
        merged.merge(Moments().update(part))
    assert merged.count == 20
    torch.testing.assert_close(merged.mean, whole.mean, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(merged.covariance, whole.covariance, atol=1e-12, rtol=1e-12)


def test_moments_agree_with_numpy_in_the_embedding_space():
    e = effects(images=30)
    moments = Moments()
    for part in split(e, [7, 19]):
        moments.update(part)
    vectors = e.vectors().numpy()
    np.testing.assert_allclose(moments.mean_vectors(), vectors.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(moments.variance(), vectors.var(axis=0).sum(axis=-1), atol=1e-12)
    texts = np.random.default_rng(0).standard_normal((6, 7))
    np.testing.assert_allclose(
        moments.variance_along(torch.from_numpy(texts)), (vectors @ texts.T).var(axis=0), atol=1e-10
    )


def test_large_means_do_not_spoil_the_covariance():
    e = effects(images=200)
    shifted = Effects((e.coefficients + 1e5).float(), e.directions.float(), e.units, e.paths)
    exact = np.cov(shifted.coefficients[:, 0, 0].double().numpy().T, bias=True)
    moments = Moments()
    for part in split(shifted, [50, 51, 130]):
        moments.update(part)
    np.testing.assert_allclose(moments.covariance[0, 0], exact, rtol=1e-6, atol=1e-9)


def test_select_is_the_moments_of_those_units():
    e = effects(images=9)
    chosen = Moments().update(e).select([1])
    torch.testing.assert_close(chosen.covariance, Moments().update(e.select(1)).covariance)


def test_later_images_reach_nothing_that_was_handed_out():
    parts = split(effects(images=20), [8])
    moments = Moments().update(parts[0])
    taken = {"slice": moments.select(slice(0, 2)), "moved": moments.to("cpu"), "merged": Moments().merge(moments)}
    before = {name: (each.mean, each.covariance.clone()) for name, each in taken.items()}
    moments.update(parts[1])
    for name, each in taken.items():
        assert torch.equal(each.mean, before[name][0])
        assert torch.equal(each.covariance, before[name][1])


def test_images_within_and_without_inference_mode():
    parts = split(effects(images=20), [8, 13])
    moments = Moments()
    with torch.inference_mode():
        moments.update(parts[0])
    moments.update(parts[1])
    with torch.inference_mode():
        moments.update(parts[2])
    torch.testing.assert_close(moments.covariance, Moments().update(effects(images=20)).covariance)


def test_mistakes_are_named(unchecked):
    with pytest.raises(SummandError, match="no images yet"):
        _ = Moments().mean
    with pytest.raises(SummandError, match="different units"):
        Moments().update(effects(seed=0)).merge(Moments().update(effects(seed=1)))
    bad = effects()
    bad.coefficients[0, 0, 0, 0] = torch.nan
    with pytest.raises(SummandError, match="NaN"):
        Moments().update(bad)


@pytest.mark.parametrize("size", [1e-25, 1.0, 1e25])
def test_a_device_that_is_slow_in_fp64(monkeypatch, size):
    """Products in fp32, sums in fp64: the same covariance to fp32's rounding, of numbers of any size."""
    coefficients = size * (torch.randn(100, 3, 6, dtype=torch.float64) + 5)
    effects = Effects(coefficients, torch.randn(3, 6, 8, dtype=torch.float64))
    exact = Moments().update(effects)
    seen = []
    monkeypatch.setattr("summand.statistics.moments.fast_fp64", lambda device: seen.append(device))
    found = Moments().update(effects)
    assert seen
    centred = coefficients - coefficients.mean(dim=0)
    want = torch.einsum("iup,iuq->upq", centred, centred) / 100
    assert found.covariance.dtype == torch.float64
    assert (exact.covariance - want).abs().max() <= 1e-13 * want.abs().max()
    assert (found.covariance - want).abs().max() <= 1e-6 * want.abs().max()
    texts = torch.randn(40, 8, dtype=torch.float64)
    if size == 1.0:
        assert torch.equal(textspan(found, texts, 3).indices, textspan(exact, texts, 3).indices)
