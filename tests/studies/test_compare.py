"""What changed from one model to another: named where it is known, and nothing where nothing did."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import summand
from summand.studies.compare.readings import Readings, changes, statistics
from summand.studies.compare.result import NOTHING
from tests.commands import command
from tests.studies.results import assert_page, assert_whole, same
from tests.tiny import clip as tiny_clip

pytestmark = pytest.mark.slow

SOURCE = "scenes:count=160,seed=77"
OPTIONS = {"units": "heads", "draws": 60, "top": 4}


@pytest.fixture(scope="module")
def tied():
    return summand.load("scenes-vit-tied")


@pytest.fixture(scope="module")
def against_tied(vit, tied):
    return summand.compare(vit, tied, SOURCE, **OPTIONS)


def altered(model, change, name="altered"):
    """A copy of a model, changed in place."""
    made = copy.deepcopy(model.clip)
    with torch.no_grad():
        change(made)
    return summand.wrap(made, preprocess=model._preprocess, tokenizer=model._tokenizer, name=name)


@given(st.integers(0, 1000))
def test_a_tie_is_the_cosine_of_two_tables_of_likeness(seed):
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(12, 5, generator=draw).double()
    values = values - values.mean(dim=0)
    kinds = ("colour", "shape", "colour", "shape", "shape")
    found = statistics(values.T @ values / 12, kinds)
    one, other = values[:, [0, 2]], values[:, [1, 3, 4]]
    tables = [each @ each.T for each in (one, other)]  # which images are alike, by either
    assert found["colour", "shape"] == pytest.approx(float(F.cosine_similarity(*(t.flatten() for t in tables), dim=0)))
    assert found[("colour",)] == pytest.approx(float(one.square().sum() / values.square().sum()))
    assert sum(value for name, value in found.items() if len(name) == 1) == pytest.approx(1)


def test_other_images_of_one_model_name_nothing(vit):
    texts = vit.encode_text(["a red object", "a blue object", "a star", "a ring", "a forest", "the sea"])
    kinds = ("colour", "colour", "shape", "shape", "place", "place")
    images = vit.encode_image(vit.preprocess(summand.scenes.sample(480, seed=5).images))
    samples = [Readings.of(some, texts, kinds) for some in images.split(80)]
    named = [
        any(found.named for found in changes(one, other, 60)[0] if found.how != "read")  # of other images
        for one, other in zip(samples[::2], samples[1::2], strict=True)
    ]
    assert sum(named) <= 1


def test_the_shortcut_is_named_first(against_tied):
    first = against_tied.named[0]
    assert (first["how"], set(first["what"].split("–"))) == ("tie", {"shape", "place"})
    assert first["after"] > 3 * first["before"]
    assert "shape and place are tied" in against_tied.verdict
    read = {row["what"] for row in against_tied.named if row["how"] == "read"}
    assert "shape" in read
    assert against_tied.matching == "index"


def test_terms_of_an_image_sum_to_what_it_moved(against_tied):
    assert len(against_tied.images) == 4
    for row in against_tied.images:
        assert row["whole"] == pytest.approx(1, abs=5e-3)  # the survey keeps embeddings in fp16
        assert np.abs(row["adds"]).tolist() == sorted(np.abs(row["adds"]), reverse=True)
    moved = [row["moved"] for row in against_tied.images]
    assert moved == sorted(moved, reverse=True)


def noise(clip):
    draw = torch.Generator().manual_seed(1)
    for parameter in clip.parameters():
        if parameter.numel() > 1:
            parameter.add_(1e-4 * parameter.std() * torch.randn(parameter.shape, generator=draw))


def turned(clip):
    """Another embedding space, the same model."""
    turn = torch.linalg.qr(torch.randn(128, 128, generator=torch.Generator().manual_seed(2))).Q
    clip.visual.proj.copy_(clip.visual.proj @ turn)
    clip.text_projection.copy_(clip.text_projection @ turn)


@pytest.mark.parametrize("change", [None, noise, turned])
def test_nothing_is_named_where_nothing_changed(vit, change):
    other = vit if change is None else altered(vit, change)
    found = summand.compare(vit, other, SOURCE, **OPTIONS)
    assert found.verdict == NOTHING
    assert not found.named
    assert not any(row["sure"] for row in found.units)
    assert found.images == []
    for row in found.units:
        assert (row["correlation"], row["cosine"]) == (pytest.approx(1, abs=0.01), pytest.approx(1, abs=0.01))


ORDER = [3, 0, 1, 2, 7, 6, 5, 4]


def shuffled(clip):
    """The heads of every layer in another order: head h of the copy is head ORDER[h] of the model."""
    for block in clip.visual.transformer.resblocks:
        attention, width = block.attn, block.attn.embed_dim
        rows = torch.arange(width).reshape(8, -1)[ORDER].flatten()
        for parameter in (attention.in_proj_weight, attention.in_proj_bias):
            parameter.copy_(parameter.reshape(3, width, -1)[:, rows].reshape(parameter.shape))
        attention.out_proj.weight.copy_(attention.out_proj.weight[:, rows])


@pytest.mark.slow
def test_units_are_found_by_their_effects(vit):
    other = altered(vit, shuffled)
    found = summand.compare(vit, other, SOURCE, matching="correlation", **OPTIONS)
    for row in found.units:
        layer, head = row["unit"].split(".")
        assert row["other"] == f"{layer}.{ORDER.index(int(head))}"
        assert row["correlation"] == pytest.approx(1, abs=1e-3)
    assert found.verdict == NOTHING
    assert summand.compare(vit, other, SOURCE, **OPTIONS).matching == "correlation"  # names do not go together


@pytest.mark.slow
def test_a_head_without_effect_is_the_unit_that_changed(vit):
    def silenced(clip):
        clip.visual.transformer.resblocks[5].attn.out_proj.weight[:, 4 * 16 : 5 * 16] = 0

    assert vit.tower.channels == 16
    found = summand.compare(vit, altered(vit, silenced), SOURCE, **OPTIONS)
    assert found.units[0]["unit"] == "5.4"
    assert found.units[0]["after"] == pytest.approx(0, abs=1e-9)
    assert any("5.4" in each for row in found.named for each in row["through"][:1])
    assert all("5.4" in row["through"] for row in found.images)


def test_bad_input(vit, tied):
    pixels = vit.preprocess(summand.scenes.sample(50, seed=1).images)
    from open_clip import SimpleTokenizer, image_transform

    photo = summand.wrap(
        tiny_clip(), preprocess=image_transform(32, is_train=False), tokenizer=SimpleTokenizer(context_length=16)
    )
    with pytest.raises(summand.SummandError, match=r"pixels of \(64, 64\).*CLIP \(32, 32\); give pictures"):
        summand.compare(vit, photo, list(pixels), **OPTIONS)
    with pytest.raises(summand.SummandError, match=r"none of scenes-vit; give texts that both models can read, pool="):
        summand.compare(photo, vit, SOURCE, pool=["a dog", "a cat", "a zeppelin"], **OPTIONS)
    with pytest.raises(summand.SummandError, match="all one and the same to scenes-vit, so there is nothing"):
        summand.compare(vit, tied, [summand.scenes.sample(1, seed=1).images[0]] * 40, **OPTIONS)
    with pytest.raises(summand.SummandError, match="needs at least 40"):
        summand.compare(vit, tied, "scenes:count=20", **OPTIONS)
    with pytest.raises(summand.SummandError, match="values of one property"):
        summand.compare(vit, tied, SOURCE, pool=["a red object", "a star"], **OPTIONS)
    with pytest.raises(summand.SummandError, match="cannot be matched by name; leave matching='index' out, and each"):
        summand.compare(vit, photo, SOURCE, matching="index", **OPTIONS)
    with pytest.raises(summand.SummandError, match="give images that both models are shown"):
        summand.compare(photo, vit)


@pytest.mark.slow
def test_another_size_and_preparation(vit):
    """Embeddings of 128 and of 16 numbers are compared along the texts."""
    from open_clip import image_transform

    small = summand.wrap(
        tiny_clip(text={"vocab_size": 200, "context_length": 32}),
        preprocess=image_transform(32, is_train=False), tokenizer=vit._tokenizer,
    )  # fmt: skip
    found = summand.compare(vit, small, SOURCE, **OPTIONS)
    assert found.matching == "correlation"
    assert any("pictures of" in note for note in found.notes)
    assert found.named


def test_the_command_line(against_tied, tmp_path, unchecked):
    found = command(
        "compare", "scenes-vit-tied", SOURCE, "--units", "heads", "--draws", "60", "--top", "4", "--json",
        "--out", tmp_path / "changed",
    ).json  # fmt: skip
    same(found, against_tied)
    assert json.loads((tmp_path / "changed" / "result.json").read_text())["verdict"] == against_tied.verdict
    assert (tmp_path / "changed" / "figure.png").stat().st_size > 10_000
    assert_whole(against_tied)
    assert_page(against_tied)
