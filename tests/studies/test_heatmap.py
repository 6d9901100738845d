from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand import SummandError


def test_the_map_is_the_token_decomposition_along_the_text(vit):
    scene = summand.scenes.sample(1, seed=5)
    contrast = ["the sea", "a star"]
    found = summand.heatmap(vit, scene.images[0], ["a ring", "two objects"], contrast=contrast)
    x = vit.preprocess(scene.images)
    text = vit.encode_text(["a ring", "two objects"]) - vit.encode_text(contrast).mean(dim=0)
    expected = vit.decompose(x).tokens()[0, 1:] @ text.T
    np.testing.assert_allclose(found.grid, expected.T.reshape(2, 8, 8), atol=1e-5)
    np.testing.assert_array_equal(found.picture, scene.images[0])
    assert found.upsampled().shape == (2, 64, 64)


def test_versus_is_antisymmetric(vit):
    scene = summand.scenes.sample(1, seed=6)
    one = summand.heatmap(vit, scene.images[0], "a star", versus="a ring").grid
    other = summand.heatmap(vit, scene.images[0], "a ring", versus="a star").grid
    np.testing.assert_allclose(one, -other, atol=1e-6)


def test_maps_find_the_named_group(vit):
    """On two-group scenes the text of one group speaks more for its pixels than for those of the other group."""
    scenes = summand.scenes.sample(40, seed=8, groups=2)
    hits = 0
    for i in range(len(scenes)):
        first, second = scenes.attributes.iloc[i], scenes.second.iloc[i]
        maps = summand.heatmap(
            vit,
            scenes.images[i],
            f"a {first.colour} {first['shape']}",
            versus=f"a {second.colour} {second['shape']}",
        ).upsampled()[0]
        hits += maps[scenes.group_masks[i, 0]].mean() > maps[scenes.group_masks[i, 1]].mean()
    assert hits >= 36


def test_the_figure_is_written(vit, tmp_path):
    found = summand.heatmap(vit, Image.new("RGB", (50, 70), "red"), ["a red square", "the sea"])
    found.save(tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").size[0] > 600
    with pytest.raises(SummandError, match=r"must end in \.png"):
        found.save(tmp_path / "x.txt")
    with pytest.raises(SummandError, match="cannot write"):
        found.save(tmp_path / "missing" / "x.png")


def test_mistakes_are_named(vit):
    picture = Image.new("RGB", (64, 64))
    with pytest.raises(SummandError, match="did you mean 'star'"):
        summand.heatmap(vit, picture, "a staar")
    with pytest.raises(SummandError, match="non-empty"):
        summand.heatmap(vit, picture, " ")
    with pytest.raises(SummandError, match="got 2 texts"):
        summand.heatmap(vit, picture, ["a star", "a ring"], versus="the sea")


def test_a_wrapped_model_asks_for_what_is_missing(unchecked):
    clip = summand.load("scenes-vit", random_init=True).clip
    model = summand.wrap(clip)
    assert model.decompose(torch.zeros(1, 3, 64, 64)).residual() < 1e-5
    with pytest.raises(SummandError, match="preprocess="):
        model.preprocess(Image.new("RGB", (64, 64)))
    with pytest.raises(SummandError, match="tokenizer="):
        model.encode_text("a star")
