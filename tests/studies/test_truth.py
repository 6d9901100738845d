from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

import summand
from summand import Effects
from summand.border import foreign
from summand.report.terminal import drawn
from summand.studies.truth.scores import agreement, anova_shares, counterfactual_movement, lifts, metric_coordinates
from tests.commands import command
from tests.studies.results import close

pytestmark = pytest.mark.slow


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


def test_lifts_compare_the_heads_that_are_labelled_so_with_the_others():
    moved = pd.DataFrame({"colour": [6.0, 2.0, 1.0], "shape": [1.0, 1.0, 4.0]})
    assert lifts(moved, ["colour", None, "shape"]) == {"colour": 4.0, "shape": 4.0}
    assert lifts(moved, ["colour"] * 3) == {}


def test_the_verb_and_the_command_say_what_the_pieces_do(vit, tmp_path, unchecked):
    given = {"layers": "4-5", "count": 48, "described": 24, "pairs": 4}
    made = summand.truth(vit, **given)
    assert made.rows["unit"].tolist() == [f"{layer}.{head}" for layer in (4, 5) for head in range(8)]
    judge = summand.scenes.sample(48, seed=202)
    effects = vit.decompose(vit.preprocess(judge.images)).head_effects().select([4, 5])
    shares = anova_shares(effects, judge.attributes[list(summand.scenes.ATTRIBUTES)])
    assert made.rows["true"].tolist() == shares.idxmax(axis=1).tolist()
    np.testing.assert_allclose(made.rows["share"], shares.max(axis=1), rtol=1e-4)
    found = agreement(shares, made.rows["named"].tolist())
    assert (made.summary["dominant"], made.summary["heads"]) == (found.dominant, 16)
    assert made.summary["agreement"] == pytest.approx(found.agreement, nan_ok=True)
    moved = counterfactual_movement(vit, 4, 303, [4, 5])
    assert made.rows["moved_most_by"].tolist() == (moved / moved.sum(axis=0)).idxmax(axis=1).tolist()
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    result = command("truth", *arguments, "--json").json
    assert close(result["rows"], json.loads(made.to_json())["rows"])
    assert close(result["summary"], json.loads(made.to_json())["summary"])
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert close(command("truth", "--config", tmp_path / "result.json", "--json").json, result)
    console = Console(width=80, record=True, file=io.StringIO())
    for table in made.tables():
        console.print(drawn(table))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"{row.share:.2f}" in text and row.unit in text for row in foreign(made.rows).itertuples())
    assert "of these, label names the dominant attribute" in made._repr_html_()
    for wrong, said in ((("--layers", "6"), "--layers of scenes-vit are 0 to 5"), (("--count", "1"), "at least 2")):
        failed = command("truth", *wrong)
        assert (failed.code, said in " ".join(failed.error.split())) == (2, True)
