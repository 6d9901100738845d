from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import summand
from summand import Effects
from summand.studies.truth import agreement, anova_shares, counterfactual_movement, metric_coordinates


def test_coordinates_keep_the_distances_of_the_embedding():
    rng = np.random.default_rng(0)
    e = Effects(torch.from_numpy(rng.standard_normal((5, 2, 3))), torch.from_numpy(rng.standard_normal((2, 3, 9))))
    vectors, points = e.vectors(), metric_coordinates(e)
    for u in range(2):
        torch.testing.assert_close(torch.cdist(points[:, u], points[:, u]), torch.cdist(vectors[:, u], vectors[:, u]))


def test_shares_are_those_of_a_literal_anova():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"a": rng.choice(["x", "y", "z"], 60), "b": rng.integers(0, 2, 60)})
    e = Effects(torch.from_numpy(rng.standard_normal((60, 4, 3))), torch.from_numpy(rng.standard_normal((4, 3, 9))))
    found = anova_shares(e, table)
    vectors = e.vectors().numpy()
    for u in range(4):
        for name in ("a", "b"):
            x = vectors[:, u]
            total = ((x - x.mean(0)) ** 2).sum()
            groups = [x[(table[name] == value).to_numpy()] for value in table[name].unique()]
            between = sum(len(g) * ((g.mean(0) - x.mean(0)) ** 2).sum() for g in groups)
            assert found.loc[u, name] == pytest.approx(between / total, abs=1e-9)


def test_a_unit_made_of_one_attribute_has_share_one():
    table = pd.DataFrame({"a": ["x", "y", "z"] * 20, "b": [0, 1] * 30})
    codes = torch.tensor([0.0, 1.0, 5.0] * 20, dtype=torch.float64)
    e = Effects(codes[:, None, None], torch.ones(1, 1, 4, dtype=torch.float64))
    assert anova_shares(e, table).loc[0, "a"] == pytest.approx(1)
    assert anova_shares(e, table).loc[0, "b"] < 0.1


def test_agreement_counts_only_dominated_heads():
    shares = pd.DataFrame({"colour": [0.9, 0.2, 0.6, 0.1], "shape": [0.05, 0.3, 0.1, 0.8]})
    found = agreement(shares, ["colour", "shape", "shape", "shape"])
    assert (found.heads, found.dominant, found.agree) == (4, 3, 2)
    assert found.agreement == pytest.approx(2 / 3)


def test_movement_is_the_squared_change_of_each_head(vit):
    found = counterfactual_movement(vit, 6, seed=3, layers=slice(4, None))
    before, after = summand.scenes.counterfactuals(6, "place", 3)
    first, second = (vit.decompose(vit.preprocess(s.images)).heads()[:, 4:] for s in (before, after))
    by_hand = (second - first).square().sum(dim=-1).mean(dim=0).flatten()
    np.testing.assert_allclose(found["place"], by_hand, rtol=1e-3)
    assert list(found.columns) == list(summand.scenes.ATTRIBUTES)
