from __future__ import annotations

import io
import itertools
import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

import summand
from summand import SummandError
from summand.border import foreign
from summand.report.terminal import drawn
from summand.studies.perturbation.curves import AREAS, perturbation_curves
from summand.studies.perturbation.options import PerturbationOptions
from tests import tiny
from tests.commands import command
from tests.studies.results import close

LOGIT = PerturbationOptions(steps=4, answer="logit", batch_size=3)


class Weighing(summand.Model):
    """A model whose cosine with the first class is the total weight of the patches that are there."""

    weights: torch.Tensor  # [4, 4], sum below one

    def encode_image(self, x):
        there = torch.nn.functional.avg_pool2d(x.abs().mean(dim=1), 8)  # pixels are ±1, the filler is their mean, 0
        cosine = (there * self.weights).sum(dim=(1, 2))
        rest = torch.zeros(len(x), 14)
        return torch.cat([cosine[:, None], (1 - cosine**2).sqrt()[:, None], rest], dim=1)


@pytest.fixture(scope="module")
def weighing():
    made = summand.wrap(tiny.clip())
    found = Weighing(made.clip, None, None, "weighing")
    found.weights = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) / 20
    return found


@pytest.fixture(scope="module")
def board():
    """Two images of ±1 with mean zero."""
    rows = torch.arange(32)
    pattern = 1.0 - 2.0 * ((rows[:, None] + rows[None]) % 2)
    return pattern.expand(2, 3, 32, 32).contiguous()


CLASSES = torch.eye(16)[:2]


def test_a_model_whose_answer_is_known(weighing, board):
    maps = torch.stack([weighing.weights, -weighing.weights])  # one faithful, one upside down
    found = perturbation_curves(weighing, board, maps, CLASSES, torch.tensor([0, 0]), LOGIT)
    falling = np.sort(weighing.weights.flatten().numpy())[::-1].astype(np.float64)
    top = np.array([falling[:count].sum() for count in (0, 4, 8, 12, 16)])
    low = np.array([falling[::-1][:count].sum() for count in (0, 4, 8, 12, 16)])
    np.testing.assert_allclose(found.shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found.deletion_positive[0], top[-1] - top, atol=1e-6)
    np.testing.assert_allclose(found.deletion_negative[0], top[-1] - low, atol=1e-6)
    np.testing.assert_allclose(found.insertion_positive[0], top, atol=1e-6)
    np.testing.assert_allclose(found.insertion_negative[0], low, atol=1e-6)
    np.testing.assert_allclose(found.deletion_positive[1], found.deletion_negative[0], atol=1e-6)
    np.testing.assert_allclose(found.insertion_negative[1], found.insertion_positive[0], atol=1e-6)
    areas = found.areas()
    trapezoid = sum((a + b) / 2 * 0.25 for a, b in itertools.pairwise(top))
    np.testing.assert_allclose(areas["insertion_positive"][0], trapezoid, atol=1e-6)
    np.testing.assert_allclose(areas["deletion_positive"][0] + areas["insertion_positive"][0], top[-1], atol=1e-6)


def test_probabilities_are_a_softmax_over_the_classes(weighing, board):
    options = PerturbationOptions(steps=4, scale=3.0)
    maps = weighing.weights[None].expand(2, -1, -1)
    targets = torch.tensor([0, 1])
    logit = perturbation_curves(weighing, board, maps, CLASSES, targets, LOGIT).deletion_positive
    found = perturbation_curves(weighing, board, maps, CLASSES, targets, options).deletion_positive
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(3 * (logit[1] - logit[0]))), atol=1e-6)
    np.testing.assert_allclose(found[0] + found[1], 1, atol=1e-6)


def test_the_true_mask_is_faithful(vit):
    """Without the patches of the named group the model no longer sees its colour; a mirrored mask does less harm."""
    scenes = summand.scenes.sample(6, seed=9)
    pixels = vit.preprocess(scenes.images)
    colours = list(summand.scenes.prompts("colour"))
    classes = vit.encode_text([f"a {colour} object" for colour in colours])
    targets = torch.tensor([colours.index(colour) for colour in scenes.attributes["colour"]])
    truth = torch.nn.functional.avg_pool2d(torch.from_numpy(scenes.masks).float()[:, None], 8)[:, 0]
    options = PerturbationOptions(steps=8)
    good = perturbation_curves(vit, pixels, truth, classes, targets, options).areas()
    bad = perturbation_curves(vit, pixels, 1 - truth, classes, targets, options).areas()
    assert good["deletion_positive"].mean() < bad["deletion_positive"].mean() - 0.2
    assert good["insertion_positive"].mean() > bad["insertion_positive"].mean() + 0.2
    blurred = perturbation_curves(vit, pixels[:1], truth[:1], classes, targets[:1], PerturbationOptions(2, "blur"))
    np.testing.assert_allclose(blurred.deletion_positive[:, 0], blurred.insertion_positive[:, -1], atol=1e-6)


def test_mistakes_are_named(weighing, board, unchecked):
    maps, targets = torch.zeros(2, 4, 4), torch.tensor([0, 1])

    def refused(message, maps=maps, classes=CLASSES, targets=targets):
        with pytest.raises(SummandError, match=message):
            perturbation_curves(weighing, board, maps, classes, targets)

    refused(r"one map for each image, \[2, row, column\]", maps=maps[:1])
    refused("does not divide an image of 32 × 32", maps=torch.zeros(2, 5, 5))
    refused("NaN", maps=maps / 0)
    refused(r"class directions \[text, 16\]", classes=torch.eye(3))
    refused("one class index for each image", targets=targets[:1])
    refused("between 0 and 1", targets=targets + 1)
    for options in ({"steps": 0}, {"fill": "noise"}, {"answer": "loss"}, {"batch_size": 0}):
        with pytest.raises(SummandError):
            PerturbationOptions(**options)


SHAPES = ["a star", "a ring", "a heart"]


@pytest.mark.slow
def test_the_verb_is_the_curves_of_each_picture(vit):
    scenes = summand.scenes.sample(6, seed=5)
    found = summand.perturb(vit, scenes.images, SHAPES, methods="decomposition,random", steps=4, batch_size=4)
    x, texts = vit.preprocess(scenes.images), vit.encode_text(SHAPES)
    which = (vit.encode_image(x) @ texts.T).argmax(dim=1)
    along = (texts - texts.mean(dim=0))[which]
    patches = vit.decompose(x).tokens()[:, 1:]
    maps = torch.einsum("ipe,ie->ip", patches, along).unflatten(1, vit.tower.grid)
    expected = perturbation_curves(vit, x, maps, texts, which, PerturbationOptions(4))
    own = found.per_image[found.per_image["method"] == "decomposition"]
    assert list(own["text"]) == [SHAPES[int(i)] for i in which]
    for name, areas in expected.areas().items():
        np.testing.assert_allclose(own[name], areas, atol=1e-4)
        assert found.rows[name][0] == pytest.approx(areas.mean(), abs=1e-4)
    np.testing.assert_allclose(
        found.curves["decomposition"]["deletion_positive"], expected.deletion_positive.mean(axis=0), atol=1e-4
    )
    ours, chance = found.rows.to_dict("records")
    assert ours["deletion_positive"] < chance["deletion_positive"]
    assert ours["insertion_positive"] > chance["insertion_positive"]
    lines = found.figure().axes[0].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), found.curves["decomposition"]["deletion_positive"])
    assert "<img" in found._repr_html_()
    with pytest.raises(SummandError, match="two texts or more"):
        summand.perturb(vit, scenes.images, ["a star"])


@pytest.mark.slow
def test_the_command_is_the_verb(vit, tmp_path, unchecked):
    given = ("perturb", "scenes:count=4,seed=5", *SHAPES, "--methods", "decomposition,random", "--steps", "3")
    made = command(*given, "--json", "--out", tmp_path / "out").json
    python = summand.perturb(vit, "scenes:count=4,seed=5", SHAPES, methods="decomposition,random", steps=3)
    own = json.loads(python.to_json())
    assert close({**{key: made[key] for key in own}, "options": asdict(python.options)}, own)
    assert len(pd.read_parquet(tmp_path / "out" / "per_image.parquet")) == 8
    (tmp_path / "made.json").write_text(json.dumps(made))
    again = command("perturb", "--config", tmp_path / "made.json", "--json").json
    assert close({**again, "files": made["files"]}, made)
    console = Console(width=80, file=io.StringIO())
    console.print(drawn(python.tables()[0]))
    text = foreign(console.file).getvalue()
    assert max(map(len, text.split("\n"))) <= 80
    for row in python.rows.to_dict("records"):
        line = next(line for line in text.split("\n") if row["method"] in line)
        assert all(f"{row[name]:.3f}" in line for name in AREAS)
    wrong = command(*given, "--fill", "noise")
    assert (wrong.code, "noise" in wrong.error) == (2, True)
