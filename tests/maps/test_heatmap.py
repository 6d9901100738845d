from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand import SummandError, heatmap
from summand.border import foreign
from tests.counting import Passes, Texts


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


def test_parts_of_the_whole_have_maps(vit, resnet, tmp_path):
    image = summand.scenes.sample(1, seed=5).images[0]
    x = vit.preprocess(image[None])
    direction = vit.encode_text(["a ring"]) - vit.encode_text(["a star"])
    found = summand.heatmap(vit, image, "a ring", contrast=["a star"], head="5.3")
    expected = vit.decompose(x).toward(direction)[0, 5, 3, 1:, 0]
    np.testing.assert_allclose(found.grid[0].ravel(), expected, atol=1e-5)
    assert "5.3" in found.quantity
    active = summand.heatmap(vit, image, neuron="4:120")
    assert active.quantity == "activation"
    active.save(tmp_path / "neuron.png")
    pair = summand.heatmap(resnet, image, ["a ring", "a star"], pair="62.3")
    assert pair.grid.shape == (2, 4, 4)


def test_a_heads_most_and_least_similar_texts(vit):
    from summand.data import open_source
    from summand.maps.joint import head_texts, most_and_least

    pool = ["a star", "a ring", "the sea", "the snow", "a red object", "a blue object"]
    texts = head_texts(vit, open_source("scenes:count=40,seed=1"), pool, 5, 3, size=4)
    assert set(texts) <= set(pool)
    image = Image.fromarray(summand.scenes.sample(1, seed=5).images[0])
    most, least = most_and_least(vit, image, 5, 3, texts)
    head = vit.decompose(vit.preprocess(image)[None]).heads()[0, 5, 3]
    along = dict(zip(texts, (vit.encode_text(texts) @ head).tolist(), strict=True))
    assert most == max(along, key=lambda name: along[name])
    assert least == min(along, key=lambda name: along[name])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"texts": "a star", "head": "9.9"}, r"0\.0 to 5\.7"),
        ({"texts": "a star", "head": "five"}, "layer.head"),
        ({"neuron": "4.120"}, "layer:neuron"),
        ({"neuron": "4:120", "texts": "a star"}, "need no text"),
        ({"texts": "a star", "pair": "1.1"}, "attention pool"),
        ({"texts": "a star", "head": "1.1", "neuron": "1:1"}, "one part at a time"),
        ({"texts": "a star", "versus": "a ring", "contrast": ["the sea"]}, "versus"),
    ],
)
def test_wrong_parts_are_named(vit, options, words):
    with pytest.raises(SummandError, match=words):
        summand.heatmap(vit, Image.new("RGB", (64, 64)), **options)


def test_pictures_of_any_mode_are_read_as_a_viewer_shows_them(vit):
    grey = np.linspace(0, 255, 64 * 64).reshape(64, 64).round().astype(np.uint8)
    plain = vit.preprocess(Image.fromarray(grey).convert("RGB"))
    for other in (grey.astype(np.uint16) * 257, grey.astype(np.int32) * 257, grey.astype(np.float32) / 255):
        assert torch.equal(vit.preprocess(Image.fromarray(other)), plain)
    clear = Image.fromarray(np.dstack([grey, grey, grey, np.zeros_like(grey)]), "RGBA")
    assert torch.equal(vit.preprocess(clear), vit.preprocess(Image.new("RGB", (64, 64), "white")))
    with pytest.raises(SummandError, match="NaN"):
        vit.preprocess(Image.fromarray(np.full((64, 64), np.nan, dtype=np.float32)))


def test_titles_hold_any_text_and_many_maps_go_on_in_rows(vit, tmp_path):
    image = Image.fromarray(summand.scenes.sample(1, seed=1).images[0])
    found = heatmap(vit, image, ["a star"])
    odd = replace(found, texts=("it costs $x^$ and is a very long sentence that would run over its neighbours",) * 9)
    odd = replace(odd, grid=np.repeat(found.grid, 9, axis=0))
    odd.save(tmp_path / "odd.png")
    rows = {round(axis.get_position().y0, 2) for axis in odd.figure().axes[:10]}
    assert len(rows) == 2


def test_nothing_to_compare_and_wrong_arrays_are_named(vit):
    image = Image.fromarray(summand.scenes.sample(1, seed=1).images[0])
    for options in ({"versus": "a star"}, {"contrast": ["a star"]}, {"contrast": "a star"}):
        with pytest.raises(SummandError, match="the same as what it is compared with"):
            heatmap(vit, image, "a star", **options)
    with pytest.raises(SummandError, match="uint8 array"):
        heatmap(vit, np.zeros((64, 64, 3), dtype=np.float32), "a star")


def test_windows_read_the_whole_picture(vit):
    """Two scenes side by side, which a square crop would squeeze or lose: each window is the map of its own crop."""
    scenes = summand.scenes.sample(2, seed=9)
    alone = summand.heatmap(vit, scenes.images[0], ["a star", "red"])
    framed = summand.heatmap(vit, scenes.images[0], ["a star", "red"], windows=1)
    np.testing.assert_allclose(framed.upsampled(), alone.upsampled(), atol=1e-6)
    wide = np.concatenate(scenes.images, axis=1)
    found = summand.heatmap(vit, wide, ["a star", "red"], windows=1)
    assert found.grid.shape == (2, 64, 128)
    np.testing.assert_array_equal(found.picture, wide)
    # the outer 32 columns of each side are in one window only; the rest of two, half a window apart
    crops = [summand.heatmap(vit, wide[:, left : left + 64], ["a star", "red"]).upsampled() for left in (0, 32, 64)]
    whole = np.zeros((2, 64, 128))
    whole[:, :, :32], whole[:, :, 96:] = crops[0][:, :, :32], crops[2][:, :, 32:]
    whole[:, :, 32:64] = (crops[0][:, :, 32:] + crops[1][:, :, :32]) / 2
    whole[:, :, 64:96] = (crops[1][:, :, 32:] + crops[2][:, :, :32]) / 2
    np.testing.assert_allclose(found.grid, whole, atol=1e-6)
    assert summand.heatmap(vit, wide, neuron="4:120", windows=2).grid.shape == (1, 128, 256)
    with pytest.raises(SummandError, match="at least 1"):
        summand.heatmap(vit, wide, "a star", windows=0)


@pytest.mark.slow
def test_several_pictures_are_read_in_batches_and_are_the_same_as_one_by_one(vit):
    images = summand.scenes.sample(35, seed=4).images
    each = [summand.heatmap(vit, image, ["a star", "a ring"]) for image in images]
    with Passes() as passes:
        for given in (images, list(images), tuple(Image.fromarray(image) for image in images)):
            found = summand.heatmap(vit, given, ["a star", "a ring"], batch_size=32)
            assert len(found) == 35
            for one, other in zip(found, each, strict=True):
                np.testing.assert_allclose(one.grid, other.grid, atol=1e-5)
                np.testing.assert_array_equal(one.picture, other.picture)
    assert passes.batches == [32, 3] * 3
    with pytest.raises(SummandError, match="no images in this list"):
        summand.heatmap(vit, [], "a star")
    with pytest.raises(SummandError, match="float64"):
        summand.heatmap(vit, [images[0], np.zeros((64, 64, 3))], "a star")
    across = summand.heatmap(vit, list(images[:2]), "a star", windows=2)
    np.testing.assert_allclose(
        foreign(across)[1].grid, summand.heatmap(vit, images[1], "a star", windows=2).grid, atol=1e-6
    )


def test_the_second_call_encodes_no_text():
    """Neither the texts nor the 120 that they are compared with."""
    model = summand.load("scenes-vit", random_init=True)
    images = summand.scenes.sample(2, seed=4).images
    with Texts() as read:
        first = summand.heatmap(model, images[0], "a star")
        assert read.seen > 100
        read.seen = 0
        assert np.array_equal(summand.heatmap(model, images[0], "a star").grid, first.grid)
        summand.heatmap(model, images, "a star")
        assert read.seen == 0
        summand.heatmap(model, images[0], ["a star", "two rings in the snow"])
        assert read.seen == 1
    with torch.no_grad():
        model.clip.text_projection.neg_()
    turned = summand.heatmap(model, images[0], "a star")
    np.testing.assert_allclose(turned.grid, -first.grid, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2], ids=["a picture", "a sheet"])
@pytest.mark.parametrize("text", ["a red star", "a small striped red star on the left and a scene without a letter"])
def test_no_title_is_cut_off(vit, text, count):
    found = summand.heatmap(vit, f"scenes:count={count}", [text], versus="a large dotted blue ring and the letter K")
    figure = found.figure()
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    for axis in figure.axes[:-1]:  # the last one is the bar
        box = axis.title.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        assert box.y0 >= axis.get_window_extent().y1 - 1
