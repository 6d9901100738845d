"""No picture is drawn of numbers that are not finite: the weight that is not is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand import SummandError
from summand.maps.heatmap import Heatmap
from summand.maps.look import overlay
from summand.scenes.pretrained import ScenePreprocess
from summand.towers.finite import broken_weights
from tests.tiny import clip

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
VIT = clip()
RESNET = clip(vision={"layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "image_size": 64, "patch_size": None})


def wrapped(made: Any, size: int) -> summand.Model:
    return summand.wrap(made, preprocess=ScenePreprocess(size), tokenizer=SimpleTokenizer(context_length=16))


MAPS = {
    "texts": {"texts": ["a dog", "a cat"], "contrast": ["a house"]},
    "windows": {"texts": ["a dog"], "contrast": ["a house"], "windows": 1},
    "head": {"texts": ["a dog"], "contrast": ["a house"], "head": "0.1"},
    "neuron": {"neuron": "0:3"},
    "pair": {"texts": ["a dog"], "contrast": ["a house"], "pair": "3.1"},
}


@given(data=st.data(), kind=st.sampled_from(sorted(MAPS)), bad=st.sampled_from([torch.nan, torch.inf, -torch.inf]))
def test_a_map_is_finite_or_the_weight_is_named(data, kind, bad):
    made, size = (RESNET, 64) if kind == "pair" else (VIT, 32)
    name, weight = data.draw(st.sampled_from([*made.visual.named_parameters()]))
    place = data.draw(st.integers(0, weight.numel() - 1))
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.view(-1)[place] = bad
        assert list(broken_weights(made)) == [f"visual.{name}"]
        said, found = "", None
        try:
            found = summand.heatmap(wrapped(made, size), PICTURE, **MAPS[kind])
        except SummandError as error:
            said = str(error)
        assert f"visual.{name}" in said if found is None else np.isfinite(found.upsampled()).all()
    finally:
        with torch.no_grad():
            weight.copy_(before)


@pytest.mark.parametrize("kind", [kind for kind in MAPS if kind != "pair"])
def test_a_spoilt_first_layer_is_refused_and_its_repair_draws(kind):
    made = clip()
    sound = summand.heatmap(wrapped(made, 32), PICTURE, **MAPS[kind]).grid
    for bad in (torch.nan, torch.inf):
        before = made.visual.conv1.weight[0, 0, 0, 0].item()
        with torch.no_grad():
            made.visual.conv1.weight[0, 0, 0, 0] = bad
        with pytest.raises(SummandError, match=r"visual\.conv1\.weight"):
            summand.heatmap(wrapped(made, 32), PICTURE, **MAPS[kind])
        with torch.no_grad():
            made.visual.conv1.weight[0, 0, 0, 0] = before
    np.testing.assert_array_equal(summand.heatmap(wrapped(made, 32), PICTURE, **MAPS[kind]).grid, sound)


def test_a_text_tower_that_is_not_sound_is_named():
    made = clip()
    with torch.no_grad():
        made.text_projection[0, 0] = torch.nan
    with pytest.raises(SummandError, match="text_projection"):
        summand.heatmap(wrapped(made, 32), PICTURE, ["a dog"], contrast=["a house"])


def test_nothing_else_draws_such_numbers_either():
    grid = np.zeros((1, 2, 2), dtype=np.float32)
    grid[0, 1, 1] = np.nan
    with pytest.raises(SummandError, match="cannot be drawn"):
        Heatmap(("a dog",), grid, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(SummandError, match="cannot be drawn"):
        overlay(grid[0], 1.0)
    with pytest.raises(SummandError, match="cannot be drawn"):
        overlay(np.zeros((2, 2)), float("nan"))
