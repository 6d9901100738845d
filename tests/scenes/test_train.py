from __future__ import annotations

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from summand.scenes import train
from summand.scenes.attributes import ATTRIBUTES
from summand.scenes.pretrained import build
from summand.scenes.source import parse_source
from summand.scenes.train import multi_positive
from summand.scenes.training.aids import freeze_all_but_last
from summand.scenes.training.batches import Batches, mixed_causes
from summand.scenes.training.text_stage import simplex_targets, value_vectors

ARGUMENTS = [
    "scenes-rn",
    "--images",
    "16",
    "--batch",
    "4",
    "--text-steps",
    "2",
    "--evaluate-every",
    "8",
    "--device",
    "cpu",
]


@pytest.fixture
def quick(monkeypatch):
    """Evaluation on few scenes; the real one is counted on 5,000."""
    real = train.accuracy
    monkeypatch.setattr(train, "accuracy", lambda *a: real(a[0], a[1], 8, a[3], a[4]))
    monkeypatch.setattr(train, "SAVE_EVERY", 0.0)


@pytest.mark.slow
def test_a_killed_run_resumes_and_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch, quick):
    train.main([*ARGUMENTS, "--out", str(tmp_path / "whole")])
    evaluate = train.accuracy

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "accuracy", killed)
    with pytest.raises(KeyboardInterrupt):
        train.main([*ARGUMENTS, "--out", str(tmp_path / "cut")])
    assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["seen"] == 4
    monkeypatch.setattr(train, "accuracy", evaluate)
    train.main([*ARGUMENTS, "--out", str(tmp_path / "cut")])
    whole, cut = (load_file(tmp_path / name / "scenes-rn.safetensors") for name in ("whole", "cut"))
    for key, value in whole.items():
        torch.testing.assert_close(cut[key], value, rtol=1e-2, atol=1e-3)
    rows = list(csv.DictReader((tmp_path / "whole" / "log.csv").open()))
    assert [int(row["images"]) for row in rows] == [8, 16]
    card = json.loads((tmp_path / "whole" / "scenes-rn.json").read_text())
    assert card["images_seen"] == 16
    assert set(card["accuracy"]) == set(ATTRIBUTES)
    assert (tmp_path / "whole" / "scenes-rn-curve.png").is_file()


def test_a_batch_depends_on_its_position_alone():
    first = next(iter(Batches(24, 12, 12, 0, 64)))
    again = Batches(0, 12, 12, 0, 64).batch(24)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["images"], Batches(0, 12, 12, 0, 64).batch(36)["images"])
    # Every caption is true of the scene that it was written for.
    assert first["match"][torch.arange(12).repeat_interleave(2), torch.arange(24)].all()


def test_multi_positive_is_the_mean_log_probability_of_the_positives():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    match = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    p = logits.softmax(dim=1)
    by_hand = -((p[0, 0].log() + p[0, 1].log()) / 2 + p[2, 2].log()) / 2
    torch.testing.assert_close(multi_positive(logits, match), by_hand)


def test_value_vectors_are_a_simplex_in_each_attribute_and_orthogonal_between():
    vectors = value_vectors(128, 0)
    for name, rows in vectors.items():
        count = len(rows)
        expected = torch.full((count, count), -1 / (count - 1)).fill_diagonal_(1)
        torch.testing.assert_close(rows @ rows.T, expected, atol=1e-5, rtol=0)
        for other, more in vectors.items():
            if other != name:
                assert (rows @ more.T).abs().max() < 1e-5
    import numpy as np

    target = simplex_targets({"shape": np.array([[2, -1]]), "colour": np.array([[-1, 3]])}, vectors)
    expected = vectors["shape"][2] + vectors["colour"][3]
    torch.testing.assert_close(target[0], expected / expected.norm())


def test_a_tie_binds_the_place_of_the_first_group_and_only_the_last_blocks_learn():
    causes = mixed_causes(800, 3, parse_source("scenes:tie=shape/place/0.9").ties)
    follows = causes.place == causes.codes("shape") % 8
    assert 0.87 < follows.mean() < 0.95
    assert (mixed_causes(800, 3).place == causes.codes("shape") % 8).mean() < 0.2
    model = build("scenes-vit-tied")
    freeze_all_but_last(model, 1)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {"visual.proj", "visual.ln_post.weight"} < learning
    assert {name.split(".")[3] for name in learning if "resblocks" in name} == {"5"}
    assert not any(name.startswith("transformer") for name in learning)
