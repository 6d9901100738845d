"""A model carries its world, whatever was made of it and whatever it is called."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import save_file

import summand
from summand import Moments, SummandError, SummandWarning
from summand.maps.contrast import default_contrast
from summand.maps.windows import scale_of
from summand.models import World
from summand.models.ablations import Ablation
from summand.models.load import catalogue
from summand.models.readable import readable
from summand.models.world import GENERAL, SHIPPED, WORLDS
from summand.scenes.pretrained import ScenePreprocess
from summand.scenes.tokenizer import SceneTokenizer
from summand.text.labels import importance, label_heads
from summand.text.pools import pool
from tests import tiny
from tests.commands import command
from tests.processes import in_fresh_imports

SCENES = summand.scenes.sample(24, seed=3)


@pytest.fixture(scope="module")
def checkpoint(vit, tmp_path_factory):
    file = tmp_path_factory.mktemp("tuned") / "tuned.safetensors"
    save_file({name: value + 1e-3 for name, value in vit.clip.state_dict().items()}, file)
    return file


@pytest.fixture(scope="module")
def kin(vit, checkpoint):
    """Models made of scenes-vit, none of them called so."""
    wrapped = summand.wrap(vit.clip, preprocess=ScenePreprocess(64), tokenizer=SceneTokenizer())
    ablated = Ablation.of(vit, [(5, 3)], torch.zeros(6, 8, 16)).apply(vit)
    named = summand.wrap(vit.clip, preprocess=lambda image: vit.preprocess(image), tokenizer=vit._tokenizer, name="x")
    return {
        "fine-tuned": summand.load("scenes-vit", checkpoint=checkpoint),
        "wrapped": wrapped,
        "wrapped, preprocessing of one's own": named,
        "ablated": ablated,
        "ablated twice": Ablation.of(ablated, [(4, 1)], torch.zeros(6, 8, 16)).apply(ablated),
        "pickled": pickle.loads(pickle.dumps(ablated)),
        "copied": copy.deepcopy(wrapped),
        "said": summand.wrap(
            vit.clip, preprocess=vit._preprocess, tokenizer=lambda t: vit._tokenizer(t), world="scenes"
        ),
    }


NAMES = (
    *("fine-tuned", "wrapped", "wrapped, preprocessing of one's own", "ablated", "ablated twice", "pickled", "copied"),
    "said",
)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_made_of_a_scenes_model_has_its_world(kin, vit, name):
    model = kin[name]
    assert model.world == vit.world == WORLDS["scenes"]
    assert default_contrast(model) == default_contrast(vit)
    assert set(default_contrast(model)) <= set(pool("scenes").texts)
    assert scale_of(model, (64, 64)) == (64, 64)


@pytest.mark.parametrize("name", [name for name in NAMES if "ablated" not in name and name != "pickled"])
def test_maps_of_its_kin(kin, name):
    assert np.isfinite(summand.heatmap(kin[name], SCENES.images[0], "a red star").grid).all()


@pytest.mark.parametrize("name", ["fine-tuned", "wrapped", "ablated"])
def test_labels_of_its_kin(kin, name):
    model = kin[name]
    moments = Moments().update(model.decompose(model.preprocess(SCENES.images)).head_effects())
    chosen, left = readable(pool(model.world.pool), model._tokenizer)
    assert left == ()
    texts = model.encode_text(chosen.texts)
    labels = label_heads(moments, [5], chosen.texts, texts, importance(moments, texts), size=3)
    assert labels
    assert all(label.attribute in (None, *summand.scenes.ATTRIBUTES) for label in labels)


@pytest.mark.slow
def test_the_commands_of_a_fine_tuned_model(checkpoint, tmp_path, unchecked):
    """heatmap, label and atlas, which knew a scenes model by its name and died on the words of another pool."""
    picture = tmp_path / "scene.png"
    Image.fromarray(SCENES.images[0]).save(picture)
    own = ["--model", "scenes-vit", "--checkpoint", str(checkpoint)]
    some = ["--images", "scenes:count=24"]
    commands = [
        ["heatmap", str(picture), "a star", *own, "--out", str(tmp_path / "map.png")],
        ["atlas", *own, *some, "--layers", "1", "--size", "2", "--out", str(tmp_path / "atlas")],
        ["decompose", *own, *some, "--units", "heads", "--held-out", "0.3", "--out", str(tmp_path / "run")],
        ["label", str(tmp_path / "run"), "--size", "2"],
    ]
    for words in commands:
        said = command(*words)
        assert said.code == 0, (words, said.error)


def test_other_models_are_of_the_general_world(vit):
    plain = summand.wrap(tiny.clip(), tokenizer=SimpleTokenizer(context_length=16))
    other = summand.wrap(vit.clip, preprocess=vit._preprocess, tokenizer=SimpleTokenizer())
    assert plain.world is other.world is GENERAL
    assert summand.wrap(vit.clip, preprocess=vit._preprocess).world.name == "scenes"  # all that is known
    assert len(plain.world.class_templates()) == 80
    assert plain.world.strange(Image.new("RGB", (9, 9))) is None


def test_a_world_of_ones_own(vit):
    mine = World("mine", pool="words-10k", picture_size=(32, 48))
    model = summand.wrap(vit.clip, preprocess=vit._preprocess, tokenizer=vit._tokenizer, world=mine)
    assert pickle.loads(pickle.dumps(model)).world == mine
    assert scale_of(model, (64, 64)) == (32, 48)
    with pytest.warns(SummandWarning, match="'words-10k' are left out"):
        assert set(default_contrast(model)) <= set(summand.scenes.vocabulary())
    with pytest.raises(SummandError, match=r"name of one \(general, scenes\); got 'scene'"):
        summand.wrap(vit.clip, world="scene")
    with pytest.raises(SummandError, match="no attribute 'shape'"):
        mine.prompts_of("shape")


def test_a_scenes_model_behind_a_function_reads_what_it_can_of_the_general_pool(vit):
    """Its tokenizer cannot be recognised, and refuses "someone": what it can read is what the map is drawn against."""
    model = summand.wrap(vit.clip, preprocess=vit._preprocess, tokenizer=lambda texts: vit._tokenizer(texts))
    assert model.world is GENERAL
    read = set(summand.scenes.vocabulary())
    if any(set(text.split()) <= read for text in GENERAL.contrast()):
        with pytest.warns(SummandWarning, match="are left out"):
            summand.heatmap(model, SCENES.images[0], "a red star")
    else:
        with pytest.raises(SummandError, match=r"can read none of the .* summand.wrap\(…, world=…\)"):
            summand.heatmap(model, SCENES.images[0], "a red star")
    named = summand.heatmap(model, SCENES.images[0], "a red star", contrast=["a ring", "a blue square"])
    assert np.isfinite(named.grid).all()


@pytest.mark.slow
def test_the_rooms_inside_work_without_scenes(tmp_path):
    """Nothing but the registry's table names them: with it empty, sources, pools and models are all the others."""
    code = """
import summand, summand.registry as registry
registry.FILLED_BY = {room: () for room in registry.FILLED_BY}
import summand.maps.heatmap, summand.survey, summand.models.load, summand.data.labelled, summand.text.properties
from summand.text.pools import names
from summand.models.world import SHIPPED
import sys
assert "scenes" not in names() and not SHIPPED
assert not [name for name in sys.modules if name.startswith("summand.scenes")], sys.modules
try:
    summand.data.open_source("scenes:count=3")
except summand.SummandError as error:
    print(error)
"""
    said = in_fresh_imports(code, ("summand",), tmp_path / "said")
    assert said.startswith("no image source 'scenes:count=3'")


def test_shipped_models_are_those_of_the_scenes():
    assert set(SHIPPED) == {"scenes-vit", "scenes-rn", "scenes-vit-tied"}
    assert {row["model"] for row in catalogue()} >= set(SHIPPED)
