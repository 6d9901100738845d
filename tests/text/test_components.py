from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f_oneway

from summand import Effects, Moments
from summand.text.components import components, limits_of_kinds, shares_of_kinds, varimax


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def effects(seed: int, images: int = 300, heads: int = 2, paths: int = 5, embed: int = 12) -> Effects:
    coefficients = draw(seed, images, 1, heads, paths) @ draw(seed + 1, paths, paths)
    return Effects(coefficients, draw(seed + 2, 1, heads, paths, embed), ("layer", "head"))


@given(st.integers(0, 200))
def test_components_are_uncorrelated_and_their_shares_are_those_of_the_outputs(seed):
    one, texts = effects(seed), draw(seed + 3, 9, 12)
    found = components(Moments().update(one), texts)
    for head in range(2):
        outputs = one.vectors()[:, 0, head].numpy()
        centred = outputs - outputs.mean(axis=0)
        x = centred @ found[head].directions.numpy().T
        np.testing.assert_allclose(np.cov(x.T, bias=True).reshape(x.shape[1], -1), np.eye(x.shape[1]), atol=1e-6)
        carried = ((centred.T @ x / len(x)) ** 2).sum(axis=0) / (centred**2).sum(axis=1).mean()
        np.testing.assert_allclose(found[head].share, carried, atol=1e-8)
        assert (found[head].share.diff() <= 0).all()
        assert found[head].share.sum() <= 1 + 1e-9
        coefficients = one.coefficients[:, 0, head].double()
        read = (coefficients - coefficients.mean(dim=0)) @ found[head].reading.T
        np.testing.assert_allclose(read, x, atol=1e-8)


def test_components_carry_nine_tenths_of_the_variance_along_the_texts():
    one, texts = effects(5), draw(9, 9, 12)
    found = components(Moments().update(one), texts)[0]
    along = one.vectors()[:, 0, 0] @ (texts - texts.mean(dim=0)).T
    along = (along - along.mean(dim=0)).numpy()
    x = one.vectors()[:, 0, 0].numpy() @ found.directions.numpy().T
    x = x - x.mean(axis=0)
    fitted = x @ (x.T @ along) / len(x)
    assert (fitted**2).sum() >= 0.9 * (along**2).sum() - 1e-9
    fewer = fitted - x[:, -1:] @ (x[:, -1:].T @ along) / len(x)
    assert (fewer**2).sum() < 0.9 * (along**2).sum() + 1e-9 or len(x.T) == 1


@given(st.integers(0, 200))
def test_varimax_is_a_rotation_that_no_small_turn_improves(seed):
    loadings = draw(seed, 20, 3)
    turn = varimax(loadings)
    torch.testing.assert_close(turn.T @ turn, torch.eye(3, dtype=torch.float64))

    def criterion(rotation):
        return float((loadings @ rotation).square().var(dim=0, correction=0).sum())

    best = criterion(turn)
    assert best >= criterion(torch.eye(3, dtype=torch.float64)) - 1e-9
    for step in range(6):
        skew = draw(seed + step + 1, 3, 3)
        small = torch.linalg.matrix_exp(0.02 * (skew - skew.T))
        assert criterion(turn @ small) <= best + 1e-7


def test_a_head_that_writes_nothing_has_no_share():
    one = effects(1)
    coefficients = one.coefficients.clone()
    coefficients[:, 0, 1] = 0
    found = components(Moments().update(Effects(coefficients, one.directions, ("layer", "head"))), draw(2, 9, 12))
    assert found[1].share.sum() == 0


def test_shares_of_properties_are_omega_squared():
    one = effects(4, images=80)
    rng = np.random.default_rng(0)
    codes = {"a": torch.from_numpy(rng.integers(0, 4, 80)), "b": torch.from_numpy(rng.integers(0, 2, 80))}
    found = shares_of_kinds(one.coefficients, one.basis.double().gram, codes)
    outputs = one.vectors().numpy()[:, 0, 1]
    centred = outputs - outputs.mean(axis=0)
    for name, code in codes.items():
        groups = [centred[code.numpy() == value] for value in np.unique(code)]
        between = sum(len(group) * (group.mean(axis=0) ** 2).sum() for group in groups)
        total, k = (centred**2).sum(), len(groups)
        expected = (between - (k - 1) * (total - between) / (80 - k)) / total
        assert float(found[name][0, 1]) == pytest.approx(max(0, expected))


def test_a_property_that_does_not_matter_has_no_share_however_many_its_values():
    shares = []
    for seed in range(20):
        one = effects(seed, images=120, heads=1)
        code = {"many": torch.from_numpy(np.random.default_rng(seed).integers(0, 40, 120))}
        shares.append(float(shares_of_kinds(one.coefficients, one.basis.double().gram, code)["many"]))
    assert np.mean(shares) < 0.04


@given(st.integers(0, 200), st.integers(2, 6), st.floats(0, 1))
def test_of_one_dimension_a_limit_is_that_of_an_analysis_of_variance(seed, values, strength):
    rng = np.random.default_rng(seed)
    code = rng.integers(0, values, 90)
    x = rng.standard_normal((90, 1, 1)) + strength * code[:, None, None]
    read = {"a": torch.from_numpy(code), "b": torch.from_numpy(rng.integers(0, 3, 90))}
    drawn = torch.from_numpy(x), torch.full((1, 1, 1), 2.0, dtype=torch.float64), read
    shares, limits = shares_of_kinds(*drawn), limits_of_kinds(*drawn, 0.05)
    for name, codes in read.items():
        p = f_oneway(*(x[codes.numpy() == value, 0, 0] for value in np.unique(codes))).pvalue
        assert bool(shares[name] > limits[name]) == (p < 0.05 / 2)


@pytest.mark.parametrize("images", [30, 200])
@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_properties_of_no_meaning_are_above_their_limit_in_one_unit_of_twenty(images, dimensions):
    units, rng = 1500, np.random.default_rng(1)
    factor = draw(7, units, 8, dimensions) @ draw(8, units, dimensions, 12)
    coefficients = draw(9, images, units, 8)
    read = {str(k): torch.from_numpy(rng.integers(0, k, images)) for k in (2, 4, 6, 8, 12)}
    drawn = coefficients, factor @ factor.transpose(1, 2), read
    shares, limits = shares_of_kinds(*drawn), limits_of_kinds(*drawn, 0.05)
    above = torch.stack([shares[name] > limits[name] for name in read]).any(dim=0).double().mean()
    assert 0.015 < float(above) < 0.075
