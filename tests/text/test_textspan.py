from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand import Effects, Moments, SummandError, textspan
from tests.oracles import literal_textspan


def case(images=40, path=5, embed=9, texts=30, seed=0) -> tuple[Effects, torch.Tensor]:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((path, path))
    coefficients = rng.standard_normal((images, path)) @ mixing + rng.standard_normal(path)
    e = Effects(torch.from_numpy(coefficients)[:, None], torch.from_numpy(rng.standard_normal((1, path, embed))))
    return e, torch.from_numpy(rng.standard_normal((texts, embed)))


@given(st.integers(1, 8), st.integers(3, 40), st.integers(0, 500))
def test_selections_are_those_of_algorithm_1(path, texts, seed):
    e, pool = case(path=path, texts=texts, seed=seed)
    outputs = e.vectors()[:, 0]
    size = min(path, texts)
    chosen, shares = literal_textspan(outputs.numpy(), pool.numpy(), size)
    for source in (outputs, Moments().update(e)):
        found = textspan(source, pool, size)
        assert found.indices.flatten().tolist() == chosen
        np.testing.assert_allclose(found.explained.flatten(), shares, atol=1e-8)


def test_all_units_at_once_equal_one_at_a_time():
    rng = np.random.default_rng(3)
    e = Effects(
        torch.from_numpy(rng.standard_normal((50, 2, 3, 4))),
        torch.from_numpy(rng.standard_normal((2, 3, 4, 8))),
        ("a", "b"),
    )
    pool = torch.from_numpy(rng.standard_normal((20, 8)))
    found = textspan(Moments().update(e), pool, 4)
    assert found.indices.shape == (2, 3, 4)
    for a in range(2):
        for b in range(3):
            single = textspan(e.vectors()[:, a, b], pool, 4)
            assert single.indices.tolist() == found.indices[a, b].tolist()


def test_full_span_explains_everything_and_projects_to_itself():
    e, pool = case(path=4)
    found = textspan(Moments().update(e), pool, 60)
    assert found.indices.shape == (1, 4)  # no more texts than the span has dimensions
    assert found.explained[0, -1] == pytest.approx(1)
    centred = e.vectors() - e.vectors().mean(dim=0)
    torch.testing.assert_close(found.project(centred), centred)


def test_explained_criterion_is_the_greedy_maximiser():
    e, pool = case(path=5, seed=4)
    pool = (
        pool * torch.linspace(0.1, 10, len(pool), dtype=torch.float64)[:, None]
    )  # lengths that mislead the paper's criterion
    outputs = e.vectors()[:, 0]
    centred = (outputs - outputs.mean(dim=0)).numpy()
    _, _, right = np.linalg.svd(outputs.numpy(), full_matrices=False)
    inside = pool.numpy() @ right[:5].T @ right[:5]
    gains = [((centred @ t / np.linalg.norm(t)) ** 2).sum() for t in inside]
    assert textspan(outputs, pool, 1, criterion="explained").indices.item() == int(np.argmax(gains))


def test_rank_cuts_the_span_and_parity_sets_it_to_80():
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.standard_normal((300, 100)) * np.linspace(3, 0.1, 100))
    pool = torch.from_numpy(rng.standard_normal((150, 100)))
    assert textspan(outputs, pool, 100, parity="paper").indices.shape == (80,)
    same = textspan(outputs, pool, 10, rank=80)
    assert textspan(outputs, pool, 10, parity="paper").indices.tolist() == same.indices.tolist()


def test_units_of_different_rank_are_each_taken_in_their_own_span():
    """The span of a unit is that of its outputs: a channel that never moves is no part of it."""
    e, pool = case(path=6, seed=7)
    coefficients = torch.cat([e.coefficients, e.coefficients, torch.zeros_like(e.coefficients)], dim=1)
    coefficients[:, 1, 3:] = 0
    both = Effects(coefficients, e.directions.expand(3, -1, -1))
    for criterion in ("variance", "explained"):
        # In the last dimension all texts explain the same: which of them comes third is rounding under "explained".
        alone = textspan(both.vectors()[:, 1], pool, 2, criterion=criterion).indices.tolist()
        for source in (both.vectors(), Moments().update(both)):
            found = textspan(source, pool, 6, criterion=criterion)
            assert found.indices[1, :2].tolist() == alone
            assert (found.indices[1] >= 0).tolist() == [True] * 3 + [False] * 3
            assert (found.indices[0] >= 0).all()
            assert found.explained[1, 2:].tolist() == pytest.approx([1] * 4)
            assert found.indices[2].tolist() == [-1] * 6  # a unit that writes nothing
            assert not found.explained[2].any()
            assert not found.basis[2].any()


def test_many_steps_do_not_drift_from_the_algorithm():
    """Fifty steps over strengths that differ by 10⁵: selections, shares and basis of the literal algorithm."""
    rng = np.random.default_rng(5)
    outputs = rng.standard_normal((120, 50)) * np.geomspace(1, 1e-5, 50) @ rng.standard_normal((50, 64))
    pool = rng.standard_normal((90, 64))
    chosen, shares = literal_textspan(outputs, pool, 50)
    found = textspan(torch.from_numpy(outputs), torch.from_numpy(pool), 50)
    assert found.indices.tolist() == chosen
    np.testing.assert_allclose(found.explained, shares, atol=1e-10)
    torch.testing.assert_close(found.basis @ found.basis.T, torch.eye(50, dtype=torch.float64))


def test_a_shorter_span_is_the_start_of_a_longer_one():
    e, pool = case(path=6, seed=8)
    long, short = textspan(Moments().update(e), pool, 6), textspan(Moments().update(e), pool, 2)
    centred = e.vectors() - e.vectors().mean(dim=0)
    assert long.first(2).indices.tolist() == short.indices.tolist()
    torch.testing.assert_close(long.first(2).project(centred), short.project(centred))
    kept = short.project(centred).square().sum() / centred.square().sum()
    assert kept.item() == pytest.approx(short.explained[0, -1].item())
    with pytest.raises(SummandError, match="at least 1"):
        long.first(0)


def test_ties_go_to_the_first_text():
    e, pool = case()
    doubled = torch.cat([pool, pool])
    found = textspan(Moments().update(e), doubled, 4).indices
    assert (found < len(pool)).all()


def test_mistakes_are_named(unchecked):
    e, pool = case()
    with pytest.raises(SummandError, match="at least one text"):
        textspan(Moments().update(e), pool[:0])
    with pytest.raises(SummandError, match="9"):
        textspan(Moments().update(e), pool[:, :4])
    with pytest.raises(SummandError, match="at least 2 images"):
        textspan(Moments().update(Effects(e.coefficients[:1], e.directions)), pool)
    with pytest.raises(SummandError, match="criterion"):
        textspan(Moments().update(e), pool, criterion="best")  # type: ignore[arg-type]
