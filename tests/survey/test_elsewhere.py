"""A run finds its images and its model again from any working folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

import summand
from summand.data import open_source
from summand.data.labelled import open_labelled
from summand.survey import Manifest, open_survey
from summand.survey.fingerprints import names_hash
from summand.survey.manifest import location, model_location
from summand.survey.units import Group
from tests import tiny
from tests.survey.conftest import made


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "here" / "photos"
    folder.mkdir(parents=True)
    for i, image in enumerate(summand.scenes.sample(8, seed=3).images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


ENTRIES = {
    "relative": lambda photos: [f"photos/{i}.png" for i in range(8)],
    "absolute": lambda photos: [str(photos / f"{i}.png") for i in range(8)],
    "beside": lambda photos: [f"../here/photos/{i}.png" for i in range(8)],
    "elsewhere": lambda photos: [str(shutil.copy(photos / f"{i}.png", photos.parents[1])) for i in range(8)],
}


@pytest.mark.slow
@pytest.mark.parametrize("entries", ENTRIES)
@pytest.mark.parametrize("given", ["list.csv", "./list.csv", "../here/list.csv", "list.parquet"])
def test_a_table_given_by_a_relative_path(vit, photos, tmp_path, monkeypatch, entries, given):
    here = photos.parent
    table = pd.DataFrame({"path": ENTRIES[entries](photos), "label": ["a", "b"] * 4})
    table.to_csv(here / "list.csv")
    table.to_parquet(here / "list.parquet")
    monkeypatch.chdir(here)
    source = open_source(given)
    asked = Manifest.draft("scenes-vit", None, source, given, top=0, held_out=0.3)
    made(vit, source, tmp_path / "run", asked, [Group("heads")], progress=False)
    monkeypatch.chdir(tmp_path)
    again = open_survey(tmp_path / "run").source()
    assert [again.name(i) for i in range(8)] == [source.name(i) for i in range(8)]
    assert names_hash(again) == asked.files
    assert all(again.image(i) == source.image(i) for i in range(8))
    assert asked.differences(Manifest.draft("scenes-vit", None, again, asked.location, top=0, held_out=0.3)) == []


@pytest.mark.parametrize("given", ["photos", "photos/", "./photos", "../here/photos"])
def test_a_folder_given_by_a_relative_path(photos, monkeypatch, given):
    monkeypatch.chdir(photos.parent)
    source, absolute = open_source(given), location(given)
    monkeypatch.chdir("/")
    again = open_source(absolute)
    assert [again.name(i) for i in range(8)] == [source.name(i) for i in range(8)] == [f"{i}.png" for i in range(8)]
    assert all(again.image(i) == source.image(i) for i in range(8))


def test_labelled_images_stay_found(photos, monkeypatch):
    here = photos.parent
    pd.DataFrame({"path": [f"photos/{i}.png" for i in range(8)], "label": ["a", "b"] * 4}).to_csv(here / "list.csv")
    monkeypatch.chdir(here)
    found = open_labelled("list.csv")
    monkeypatch.chdir("/")
    assert found.source.image(3).size == (64, 64)
    assert found.source.name(3) == "photos/3.png"


def test_a_model_given_by_relative_paths(photos, tmp_path, monkeypatch):
    tiny.write_folder(tmp_path / "here" / "models" / "mine", tiny.clip())
    torch.save(
        {"state_dict": tiny.clip(seed=2).state_dict(), "ema": tiny.clip(seed=3).state_dict()}, photos.parent / "x.pt"
    )
    monkeypatch.chdir(photos.parent)
    options = {"checkpoint": "x.pt#ema"}
    model = summand.load("local-dir:models/mine", **options)
    asked = Manifest.draft(
        "local-dir:models/mine", None, open_source("photos"), "photos", top=0, held_out=0.3, **options
    )
    assert "--checkpoint" in asked.command(Path("run"))
    made(model, open_source("photos"), Path("run"), asked, [Group("heads")], progress=False)
    monkeypatch.chdir("/")
    run = open_survey(photos.parent / "run")
    x = torch.ones(1, 3, 32, 32)
    assert torch.equal(run.load_model().encode_image(x), model.encode_image(x))
    assert len(run.source()) == 8


def test_the_activation_of_a_run_is_kept(photos, tmp_path, monkeypatch):
    import open_clip

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny.config())
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-quickgelu", tiny.config(quick_gelu=True))
    torch.save(tiny.clip(seed=2).state_dict(), photos.parent / "x.pt")
    monkeypatch.chdir(photos.parent)
    model = summand.load("tiny", "x.pt", activation="quickgelu")
    asked = Manifest.draft("tiny", "x.pt", open_source("photos"), "photos", top=0, held_out=0.3, activation="quickgelu")
    run = made(model, open_source("photos"), tmp_path / "run", asked, [Group("heads")], progress=False)
    monkeypatch.chdir("/")
    assert "QuickGELU" in str(run.load_model().clip)
    plain = summand.load("tiny", checkpoint=photos.parent / "x.pt", activation="gelu")
    with pytest.raises(summand.SummandError, match="other weights, under the same name, or other settings"):
        made(plain, run.source(), tmp_path / "run", asked, [Group("heads")], progress=False)


def test_locations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai").touch()
    (tmp_path / "m").mkdir()
    assert location("scenes:count=3") == "scenes:count=3"
    assert location("openai#ema") == str(tmp_path / "openai#ema")
    assert model_location("local-dir:m") == f"local-dir:{tmp_path / 'm'}"
    assert model_location("hf:m") == f"hf:{tmp_path / 'm'}"
    assert model_location("hf:org/name") == "hf:org/name"
    assert model_location("ViT-B-32") == "ViT-B-32"
    source = open_source("scenes:count=8")
    assert Manifest.draft("ViT-B-32", "openai", source, "scenes:count=8").pretrained == "openai"  # a tag, not the file
