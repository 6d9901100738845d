"""The options of a model are those of every command, and what loading warns of is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import summand
from summand.cli.app import COMMANDS, options_of
from tests import tiny
from tests.border import open_clip
from tests.commands import command as run
from tests.commands import error_of

pytestmark = pytest.mark.usefixtures("unchecked")
OPTIONS = {
    one.name: {f"--{name.replace('_', '-')}" for name in options_of(one.name).__signature__.parameters}
    for one in COMMANDS
}
OF_A_MODEL = sorted(name for name, options in OPTIONS.items() if "--model" in options)


@pytest.mark.parametrize("command", OF_A_MODEL)
def test_every_command_that_takes_a_model_takes_its_options(command):
    options = OPTIONS[command]
    assert {"--model", "--pretrained", "--checkpoint", "--activation", "--random-init", "--device"} <= options


def test_there_are_such_commands():
    assert len(OF_A_MODEL) >= 12


@pytest.fixture
def scenes_file(tmp_path):
    torch.save(summand.load("scenes-vit", random_init=True, seed=3).clip.state_dict(), tmp_path / "mine.pt")
    torch.save({"ema": torch.load(tmp_path / "mine.pt")}, tmp_path / "ema.pt")
    Image.fromarray(summand.scenes.sample(1, seed=3).images[0]).save(tmp_path / "scene.png")
    return tmp_path


ARGUMENTS = {
    "heatmap": ("{}/scene.png", "a red star", "--out", "{}/out.png"),
    "words": ("a red star",),
    "atlas": ("--images", "scenes:count=20", "--layers", "1", "--out", "{}/out"),
    "decompose": ("--images", "scenes:count=12", "--top", "0", "--units", "heads", "--out", "{}/out"),
    "segment": ("scenes:count=4,groups=2", "--methods", "decomposition"),
    "ablate": ("scenes:count=12", "--classes", "shape", "--what", "mlps", "--out", "{}/out.png"),
    "retrieve": ("{}/scene.png", "scenes:count=12", "--units", "5.0", "--out", "{}/out.png"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", ARGUMENTS)
def test_a_checkpoint_reaches_the_model(scenes_file, command):
    arguments = [argument.format(scenes_file) for argument in ARGUMENTS[command]]
    found = run(command, *arguments, "--model", "scenes-vit", "--checkpoint", scenes_file / "mine.pt", "--json")
    assert found.code == 0, found.error
    assert found.json["model"] == "scenes-vit/mine"


def test_two_files_are_one_too_many(scenes_file):
    file = scenes_file / "mine.pt"
    assert "two checkpoint files" in error_of("words", "a red star", "--pretrained", file, "--checkpoint", file)


def test_what_loading_warns_of_is_said_on_stderr(scenes_file):
    found = run("words", "a red star", "--model", "scenes-vit", "--checkpoint", scenes_file / "ema.pt", "--json")
    assert "warning: ema.pt holds averaged weights alone (ema): these were read" in found.error
    assert found.json["model"] == "scenes-vit/ema"


def test_tag_and_file_together(tmp_path, monkeypatch):
    quick = tiny.clip(seed=5, quick_gelu=True)
    torch.save(quick.state_dict(), tmp_path / "x.pt")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny.config())
    look = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear", "resize_mode": "squash"}
    tags = {"quick_tag": {"file": "nowhere", "quick_gelu": True, **look}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    given = ("words", "a red star", "--versus", "a blue ring", "--model", "tiny", "--json")
    said = error_of(*given, "--checkpoint", tmp_path / "x.pt")
    assert "GELU or QuickGELU" in said
    assert "--activation" in said
    rows = {}
    for options in (("--pretrained", "quick_tag"), ("--activation", "quickgelu"), ("--activation", "gelu")):
        found = run(*given, "--checkpoint", tmp_path / "x.pt", *options)
        assert found.code == 0, found.error
        rows[options[-1]] = found.json["rows"]
    assert rows["quick_tag"] == rows["quickgelu"] != rows["gelu"]
    assert "--activation" in error_of(*given, "--checkpoint", tmp_path / "x.pt", "--activation", "relu")


@pytest.mark.slow
def test_a_run_has_its_own_model(scenes_file, tmp_path):
    made = run("decompose", "--images", "scenes:count=12", "--units", "heads", "--out", tmp_path / "run")
    assert made.code == 0, made.error
    query = (
        "retrieve",
        scenes_file / "scene.png",
        tmp_path / "run",
        "--units",
        "5.0",
        "--out",
        tmp_path / "o.png",
    )
    assert run(*query).code == 0
    for option in (("--checkpoint", "x.pt"), ("--pretrained", "openai"), ("--activation", "gelu"), ("--random-init",)):
        assert f"run of its own model; {option[0]} needs --model" in error_of(*query, *option)


# The labels of a table


@pytest.fixture
def table(tmp_path):
    scenes = summand.scenes.sample(12, seed=4)
    for i, image in enumerate(scenes.images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    names = np.array(["star", "ring"])
    columns = {
        "path": [f"{i}.png" for i in range(12)],
        "species": names[np.arange(12) % 2],
        "place": names[np.arange(12) // 6],
    }
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def test_ablate_takes_a_label_column(table):
    given = ("ablate", table / "t.csv", "--what", "mlps", "--out", table / "a.png", "--json")
    found = run(*given, "--label-column", "species").json
    assert found["images"] == 12
    assert found["options"]["label_column"] == "species"
    assert run(*given, "--label-column", "place").json["baseline"] != found["baseline"]
    assert "needs a column 'label' or 'y' or 'class'" in error_of(*given)
    assert "needs a column 'kind' for the labels" in error_of(*given, "--label-column", "kind")


@pytest.mark.parametrize("command", ["ablate", "debias"])
def test_a_label_column_of_what_is_no_table(tmp_path, command):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    assert "is a folder, and --label-column" in error_of(command, tmp_path, "--label-column", "x")
    said = error_of(command, "scenes:count=12", "--classes", "shape", "--label-column", "x")
    assert "is scenes, and --label-column" in said
