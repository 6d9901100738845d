"""Held-out scores against SciPy and scikit-learn, and against units whose meaning is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from summand import SummandError
from summand.text import evidence as module
from summand.text.evidence import evidence, held_out, random_scores
from summand.text.sparse import prepare_atoms, sparse_code
from tests.border import stats


def pair(images: int, units: int, seed: int, levels: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Related signal and prediction; `levels` > 0 rounds predictions so that many are equal."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((images, units))
    predicted = 0.5 * signal + rng.standard_normal((images, units))
    if levels:
        predicted = np.round(predicted * levels) / levels
    return torch.from_numpy(signal), torch.from_numpy(predicted)


@given(st.integers(4, 60), st.integers(1, 4), st.integers(0, 3), st.floats(0.01, 0.7), st.integers(0, 500))
def test_scores_are_those_of_scipy_and_scikit_learn(images, units, levels, share, seed):
    signal, predicted = pair(images, units, seed, levels)
    found = held_out(signal, predicted, share)
    k = max(1, round(share * images))
    for unit in range(units):
        s, p = signal[:, unit].numpy(), predicted[:, unit].numpy()
        best = np.zeros(images, dtype=int)
        best[np.argsort(-s)[:k]] = 1
        assert found.positives[unit] == k
        assert found.auc[unit].item() == pytest.approx(roc_auc_score(best, p))
        expected = np.nan if np.ptp(p) == 0 else stats.pearsonr(s, p).statistic
        assert found.correlation[unit].item() == pytest.approx(expected, abs=1e-10, nan_ok=True)


def test_a_large_offset_and_single_precision_do_not_spoil_the_correlation():
    signal, predicted = pair(200, 3, 1)
    moved = (signal.float() * 1e-3 + 7, predicted.float())
    assert torch.allclose(held_out(*moved).correlation, held_out(signal, predicted).correlation, atol=1e-3)
    assert held_out(*moved).correlation.dtype == torch.float64


@pytest.mark.parametrize(
    ("signal", "positives"),
    [
        ([5, 4, 3, 2, 1, 0], 2),  # no ties
        ([5, 4, 4, 4, 1, 0], 1),  # the second and the next are equal: only what is above them
        ([5, 5, 5, 2, 1, 0], 3),  # nothing is above the equal ones: all of them
        ([5, 0, 0, 0, 0, 0], 1),  # a unit that is mostly silent
    ],
)
def test_equal_signals_are_taken_or_left_together(signal, positives):
    s = torch.tensor(signal, dtype=torch.float64)[:, None]
    p = torch.tensor([3.0, 9, 1, 4, 1, 5], dtype=torch.float64)[:, None]
    found = held_out(s, p, share=2 / 6)
    assert found.positives.item() == positives
    top = s[:, 0] >= s[:, 0].sort(descending=True).values[positives - 1]
    assert found.auc.item() == pytest.approx(roc_auc_score(top.numpy(), p[:, 0].numpy()))
    shuffled = torch.tensor([3, 1, 5, 0, 2, 4])
    assert torch.equal(held_out(s[shuffled], p[shuffled], share=2 / 6).auc, found.auc)


def test_constants_have_no_correlation():
    signal, predicted = pair(30, 3, 2)
    signal[:, 0] = 0.1
    predicted[:, 1] = 0.1
    found = held_out(signal, predicted)
    assert found.correlation.isnan().tolist() == [True, True, False]
    assert found.auc.isnan().tolist() == [True, False, False]
    assert found.auc[1] == 0.5


def test_blocks_of_units_do_not_change_the_scores(monkeypatch):
    signal, predicted = pair(40, 7, 3)
    whole = held_out(signal, predicted)
    monkeypatch.setattr(module, "_BLOCK", 90)
    parts = held_out(signal, predicted)
    torch.testing.assert_close(whole.correlation, parts.correlation)
    assert torch.equal(whole.auc, parts.auc)


def world(units: int = 60, images: int = 300, seed: int = 0):
    """Images with known text contents: half of the units follow their description, the others are noise."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    atoms = prepare_atoms(draw(200, 48))
    contents = draw(images, 48)
    directions = draw(units, 48)
    code = sparse_code(directions, atoms, 6, centre=False)
    signal = contents @ directions.T
    signal[:, units // 2 :] = draw(images, units - units // 2)
    return signal, contents, directions, code, atoms


def judged(signal, contents, directions, code, atoms, **options):
    return evidence(signal, contents, directions, code.indices, code.coefficients, atoms, **options)


def test_units_that_follow_their_description_are_supported_and_noise_rarely():
    found = judged(*world(units=400), draws=20)
    assert found.supported[:200].all()
    assert (found.score.correlation[:200] > 0.4).all()
    assert set(found.verdicts[:200]) == {"supported"}
    assert 0.01 < found.supported[200:].double().mean() < 0.1  # 1 in 20 expected
    assert found.verdicts.count("no evidence") == int((~found.supported).sum())


def test_a_unit_that_never_varies_is_untested():
    signal, *rest = world(units=4)
    signal[:, 0] = 0
    found = judged(signal, *rest, draws=3)
    assert found.verdicts[0] == "untested"
    assert not found.supported[0]


def test_random_texts_are_fitted_to_the_unit_and_have_a_seed(monkeypatch):
    signal, contents, directions, _, atoms = world(units=5)
    seen = []
    monkeypatch.setattr(module, "held_out", lambda s, p, share: seen.append(p) or held_out(s, p, share))
    first = random_scores(signal, contents, directions, 6, atoms, draws=3, seed=4)
    assert first.correlation.shape == first.auc.shape == (3, 5)
    again = random_scores(signal, contents, directions, 6, atoms, draws=3, seed=4)
    other = random_scores(signal, contents, directions, 6, atoms, draws=3, seed=5)
    assert torch.equal(first.correlation, again.correlation)
    assert not torch.equal(first.correlation, other.correlation)
    identity = torch.eye(12, dtype=torch.float64)
    random_scores(signal[:12], identity, directions[:, :12], 6, identity, draws=2)
    texts = []
    for predicted in seen[-2:]:  # with atoms and images of the identity the prediction is the description itself
        taken = (predicted.abs() > 1e-12).T
        assert (taken.sum(dim=1) == 6).all()
        assert (taken == taken[0]).all()  # the same texts for every unit, with the weights that fit it best
        torch.testing.assert_close(predicted.T[taken], directions[:, :12][taken])
        texts.append(taken[0].tolist())
    assert texts[0] != texts[1]


def test_a_random_description_is_the_best_fit_of_its_texts(monkeypatch):
    """By least squares, where the texts are not orthogonal."""
    signal, contents, directions, _, atoms = world(units=3)
    seen = []
    monkeypatch.setattr(module, "held_out", lambda s, p, share: seen.append(p) or held_out(s, p, share))
    random_scores(signal, contents, directions, 6, atoms, draws=1, seed=2)
    chosen = atoms[np.random.default_rng([2, 7]).choice(len(atoms), 6, replace=False)]
    weights = np.linalg.lstsq(chosen.T.numpy(), directions.T.numpy(), rcond=None)[0]
    np.testing.assert_allclose(seen[0], contents @ chosen.T @ torch.from_numpy(weights), atol=1e-9)


def test_what_words_can_reach_is_the_score_of_the_direction_itself():
    signal, contents, directions, code, atoms = world(units=6)
    found = judged(signal, contents, directions, code, atoms, draws=4)
    own = held_out(signal, contents @ directions.T)
    torch.testing.assert_close(found.own.correlation, own.correlation)
    said = held_out(signal, contents @ code.reconstruction.T)
    torch.testing.assert_close(found.score.correlation, said.correlation)
    random = random_scores(signal, contents, directions, 6, atoms, draws=4)
    torch.testing.assert_close(found.threshold, random.correlation.quantile(0.95, dim=0))
    torch.testing.assert_close(found.random.auc, random.auc.mean(dim=0))


def test_mistakes_are_named(unchecked):
    signal, predicted = pair(10, 2, 0)
    with pytest.raises(SummandError, match="at least 3 held-out images"):
        held_out(signal[:2], predicted[:2])
    with pytest.raises(SummandError, match="both be"):
        held_out(signal, predicted[:, :1])
    with pytest.raises(SummandError, match="between 0 and 1"):
        held_out(signal, predicted, 1.0)
    with pytest.raises(SummandError, match="none to tell apart"):
        held_out(signal, predicted, 0.99)
    with pytest.raises(SummandError, match="NaN"):
        held_out(signal * torch.nan, predicted)
    directions = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(SummandError, match="larger pool"):
        random_scores(signal, predicted, directions, 5, torch.ones(4, 2, dtype=torch.float64))
    with pytest.raises(SummandError, match="at least 1 draw"):
        random_scores(signal, predicted, directions, 5, torch.ones(9, 2, dtype=torch.float64), draws=0)
