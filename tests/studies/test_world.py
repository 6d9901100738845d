"""A scenes model that is asked about photographs says so, in every command and on every page."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand.cli.app import COMMANDS
from summand.data import open_source
from summand.data.masks import open_masks
from summand.models.ablations import Ablation
from summand.scenes.pretrained import is_scenes_model
from summand.studies.world import strange_pictures
from tests.commands import command
from tests.tiny import clip

pytestmark = pytest.mark.slow

LOUD = "WARNING scenes-vit has seen nothing but rendered scenes"


@pytest.fixture(scope="module", autouse=True)
def as_users_run_it():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(rng.integers(0, 256, (48, 80, 3), dtype=np.uint8)).save(folder / f"{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "scenes"
    summand.scenes.write_folder(summand.scenes.sample(24, seed=5), folder)
    return folder / "images"


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    said = command("decompose", "--images", photos, "--units", "heads", "--held-out", "0.3", "--out", out)
    assert said.code == 0, said.error
    assert LOUD in " ".join(said.error.split())
    return out


def commands(images: Path, run: Path) -> list[tuple[str, ...]]:
    one = str(sorted(images.iterdir())[0])
    return [
        ("atlas", "--images", str(images), "--layers", "1", "--size", "2"),
        ("heatmap", one, "a star"),
        ("retrieve", one, str(images), "--units", "5.3"),
        ("concepts", one, "--reference", str(images)),
        ("shift", str(images), str(images), "--out", "shift"),
        ("label", str(run), "--size", "2"),
        ("head", str(run), "5.3"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_photographs_raise_the_warning(photos, run, number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = command(*commands(photos, run)[number])
    assert said.code == 0, said.error
    assert LOUD in " ".join(said.error.split())
    pages = [page.read_text() for page in tmp_path.rglob("*.html")]
    assert pages or number not in (0, 4)
    for page in pages:
        assert "has seen nothing but rendered scenes" in page
        assert 'class="warning"' in page or "verdict alarm" in page


@pytest.mark.parametrize("number", range(5))
def test_scenes_do_not(drawn, number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = command(*commands(drawn, tmp_path)[number])
    assert said.code in (0, 1), said.error
    assert "WARNING" not in said.error
    assert not any("has seen nothing but" in page.read_text() for page in tmp_path.rglob("*.html"))


def test_no_command_that_reads_images_was_forgotten():
    texts: dict[str, str] = {}
    for one in COMMANDS:
        module, _, name = one.path.partition(":")
        name = "_of_one" if one.name in ("unit", "head", "neuron", "pair") else name
        defined = ast.parse(inspect.getsource(import_module(module))).body
        texts[one.name] = next(ast.unparse(node) for node in defined if getattr(node, "name", "") == name)
    loading = {name for name, text in texts.items() if "model.load(" in text or ", model, compute)" in text}
    assert {"ablate", "atlas", "debias", "segment", "subconcepts", "attack", "survey", "heatmap"} <= loading
    blind = {name for name in loading if "model.load()" in texts[name]}
    assert blind <= {"words", "doctor", "truth", "export"}  # of texts alone, of no pictures, of scenes, of weights
    surveys = {name for name, text in texts.items() if "surveyed(survey)" in text or "opened(survey" in text}
    assert surveys == {"label", "unit", "head", "neuron", "pair", "find"}  # where `loading.surveyed` warns


def test_who_is_a_scenes_model(vit, resnet):
    means = np.zeros((6, 8, 16), np.float32)
    ablated = Ablation.of(vit, [(5, 0)], torch.from_numpy(means)).apply(vit)
    own = summand.wrap(vit.clip, preprocess=vit._preprocess, tokenizer=vit._tokenizer, name="mine")
    for model in (vit, resnet, ablated, own):
        assert is_scenes_model(model)
        assert model.world.pool == "scenes"
    other = summand.wrap(clip(), preprocess=vit._preprocess, tokenizer=SimpleTokenizer())
    for model in (summand.wrap(clip()), other):
        assert not is_scenes_model(model)
        assert model.world.pool == "general"


def test_which_pictures_are_strange(vit, photos, drawn, tmp_path):
    assert strange_pictures(vit, open_source("scenes:count=9"), None) is None
    assert strange_pictures(vit, open_source(str(drawn)), open_masks("scenes:count=9,groups=2", None)) is None
    small = tmp_path / "small"
    small.mkdir()
    Image.open(next(drawn.iterdir())).save(small / "x.jpg")  # 64 × 64, as photographs can be; ours are PNG
    for images in (open_source(str(photos)), open_source(str(small)), Image.new("RGB", (224, 224))):
        assert "scenes-vit has seen nothing but" in strange_pictures(vit, open_source("scenes:count=9"), images)
        assert strange_pictures(summand.wrap(clip()), images) is None
