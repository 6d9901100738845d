from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import summand
from summand import SummandError
from summand.studies.perturbation import PerturbationOptions, perturbation_curves
from tests import tiny

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
