from __future__ import annotations

import shutil

import jaxtyping
import pandas as pd
import pytest
from PIL import Image

from summand.border import foreign
from summand.survey import open_survey
from summand.survey.checksums import read_sealed, write_sealed
from tests.commands import command as run
from tests.commands import error_of

pytestmark = pytest.mark.slow

SMALL = ("--images", "scenes:count=60,seed=4", "--units", "heads,neurons:4", "--held-out", "0.4")


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    """Without the shape checker, which would make commands slow."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    found = run("decompose", *SMALL, "--out", out, "--json")
    assert found.code == 0, found.error
    result = found.json
    assert [(row["units"], row["count"], row["images"]) for row in result["rows"]] == [
        ("heads", 48, 36),
        ("neurons.4", 512, 36),
    ]
    assert (result["images"], result["held_out_images"]) == (60, 24)
    assert result["residual"] < 1e-5
    found = run("label", out, "--size", "5", "--json")
    assert found.code == 0, found.error
    rows = found.json["rows"]
    assert len(rows) == 560
    assert all(len(row["texts"]) == len(row["weights"]) == 5 for row in rows)
    return out


@pytest.mark.slow
def test_the_same_command_again_has_nothing_to_do(folder):
    found = run("decompose", *SMALL, "--out", folder)
    assert found.code == 0
    assert "nothing to do" in found.error
    assert "neurons of layer 4" in found.out


def test_labels_on_screen_are_the_most_telling_ones(folder):
    found = run("label", folder, "--pool", "scenes", "--size", "5")
    assert found.code == 0
    assert "the most telling 12 of 48" in found.out
    assert "the most telling 12 of 512" in found.out
    labels = open_survey(folder).labels
    heads = labels[labels["kind"] == "head"]
    first = foreign(heads)[heads["verdict"] == "proven"].sort_values(by="importance", ascending=False).iloc[0]
    lines = [line for line in found.out.splitlines() if line.startswith("│")]
    assert lines[0].split("│")[1].strip() == first["unit"]
    assert first["words"][0] in lines[0]
    assert len(pd.read_csv(folder / "labels.csv")) == 560


@pytest.mark.parametrize(("command", "unit"), [("neuron", "4:100"), ("head", "5.3")])
def test_one_unit_told_and_shown(folder, tmp_path, command, unit):
    picture = tmp_path / "strip.png"
    found = run(command, folder, unit, "--out", picture, "--json")
    assert found.code == 0, found.error
    result = found.json
    row = result["rows"][0]
    assert result["files"]["figure"] == str(picture)
    assert Image.open(picture).size[0] > 800
    labels = open_survey(folder).labels
    expected = labels[(labels["kind"] == command) & (labels["unit"] == unit)].iloc[0]
    assert row["label"]["texts"] == list(expected["texts"])
    assert row["label"]["correlation"] == pytest.approx(expected["correlation"])
    held = set(open_survey(folder).held_out_images.tolist())
    assert not {shown["image"] for shown in row["images"]} & held
    said = run(command, folder, unit, "--out", picture).out
    assert f"{command} {unit}" in said
    assert expected["texts"][0] in said
    assert expected["label"].split(" (")[0].split(" ↔")[0].split(" /")[0] in said
    assert expected["verdict"] in said


def test_what_moved_is_said_and_the_rest_is_printed(folder, tmp_path):
    moved = tmp_path / "run"
    shutil.copytree(folder, moved)
    manifest = read_sealed(moved / "manifest.json")
    write_sealed(moved / "manifest.json", {**manifest, "location": "/nowhere/photos"})
    (moved / "labels.parquet").unlink()
    found = run("head", moved, "5.3", "--out", tmp_path / "strip.png")
    assert found.code == 0
    assert "cannot be read again: no image source '/nowhere/photos'" in found.error.replace("\n", " ")
    assert "no words yet" in found.out
    assert not (tmp_path / "strip.png").exists()


def test_a_line_that_the_model_cannot_read_costs_that_line_only(folder, tmp_path):
    copied, texts = tmp_path / "run", tmp_path / "mine.txt"
    shutil.copytree(folder, copied)
    texts.write_text("a red object\n\na star\n" + "red " * 90 + "\na ring\na dog\na blue object\n")
    found = run("label", copied, "--pool", texts, "--size", "2", "--json")
    assert found.code == 0, found.error
    assert {text for row in found.json["rows"] for text in row["texts"]} <= {
        "a red object", "a star", "a ring", "a blue object",
    }  # fmt: skip
    assert "mine.txt, line 4: a text of 90 words is longer than the 30" in found.error
    assert "mine.txt, line 6: the scenes vocabulary has no word 'dog'" in found.error
    assert "2 of 6 descriptions of mine.txt were skipped" in found.error


def test_bad_usage_is_refused_with_a_remedy(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    out = ("--out", tmp_path / "new")
    for arguments, words in (
        (("decompose", "--out", tmp_path), "is not empty and holds no run"),
        (("decompose", "--out", tmp_path / "mine.txt"), "is a file"),
        (("decompose", *SMALL, "--count", "30", "--out", folder), "--count as by default, not 30"),
        (("decompose", "--model", "scenes-rn", *SMALL, "--out", folder), "model scenes-vit, not scenes-rn"),
        (("decompose", "--units", "nerons", *out), "unknown units 'nerons', did you mean 'neurons'"),
        (("decompose", "--units", "neurons:5", "--count", "8", *out), "no attention comes after layer 5"),
        (("decompose", "--count", "3", *out), "statistics need at least 4"),
        (("decompose", "--held-out", "1", *out), "--held-out is a share"),
        (("label", tmp_path), "no run folder: it has no manifest.json"),
        (("label", folder, "--pool", "genral"), "did you mean 'general'"),
        (("neuron", folder, "4x100"), "a neuron is called as 9:2914 is"),
        (("neuron", folder, "2:100"), "holds heads, neurons.4, not neurons.2"),
        (("neuron", folder, "4:512"), "counted from 0 to 511"),
        (("pair", folder, "1.2"), "not pairs"),
        (("head", folder, "5.3", "--out", tmp_path / "a.doc"), "must end in .png"),
    ):
        assert words in error_of(*arguments), arguments
    (tmp_path / "texts.txt").write_text("a star\na star\n")
    assert "nothing but 'a star'" in error_of("label", folder, "--pool", tmp_path / "texts.txt")
    (tmp_path / "texts.txt").write_text("\n")
    assert "no descriptions" in error_of("label", folder, "--pool", tmp_path / "texts.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "texts.txt"]


def test_a_half_written_run_is_refused_with_the_command_that_goes_on(folder, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    manifest = read_sealed(folder / "manifest.json")
    write_sealed(half / "manifest.json", {**manifest, "complete": False, "passed": 25})
    found = run("label", half)
    assert (found.code, found.out) == (2, "")
    said = " ".join(found.error.split())
    assert "not finished (25 of 96 image passes are done)" in said
    assert "summand survey --model scenes-vit --images scenes:count=60,seed=4 --units heads,neurons:4" in said
    assert "Traceback" not in found.error
