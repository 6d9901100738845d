from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import summand
from summand.cli import main
from tests import tiny
from tests.border import open_clip
from tests.commands import Finished, command

pytestmark = pytest.mark.usefixtures("unchecked")


def run(*arguments: str, cwd: Path | None = None) -> Finished:
    with contextlib.chdir(cwd or Path.cwd()):
        return command(*arguments)


@pytest.mark.slow
def test_version_and_help():
    whole = subprocess.run([sys.executable, "-m", "summand", "--version"], capture_output=True, text=True)
    assert (whole.returncode, whole.stdout.strip()) == (0, f"summand {summand.__version__}")
    assert run("--version").out.strip() == f"summand {summand.__version__}"
    for name in ("atlas", "heatmap", "scenes", "pools", "models"):
        found = run(name, "--help")
        assert found.code == 0
        assert "Examples:" in found.out
    assert "[default: the last four]" in " ".join(run("shift", "--help").out.replace("│", " ").split())


@pytest.mark.slow
def test_atlas_on_photographs_with_an_open_clip_name_and_a_broken_file(tmp_path, monkeypatch):
    small = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}  # RN50, with a quarter of its width
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small-RN50", tiny.config(vision_cfg=small))
    for i in range(4):
        Image.effect_noise((60, 40), 20 * i + 5).convert("RGB").save(tmp_path / f"{i}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8nothing")
    texts = tmp_path / "texts.txt"
    texts.write_text("a dog\na red car\nthe sea\na photo of rust\n")
    found = run(
        "atlas", "--images", str(tmp_path), "--model", "small-RN50", "--random-init", "--pool", str(texts),
        "--out", str(tmp_path / "site"), "--json", "--batch-size", "2",
    )  # fmt: skip
    assert found.code == 0, found.error
    result = found.json
    assert result["command"] == "atlas"
    assert result["model"] == "small-RN50"
    assert len(result["rows"]) == 8
    assert [item["name"] for item in result["skipped"]] == ["broken.jpg"]
    assert result["residual"] < 1e-5
    assert "RANDOM" in found.error
    assert "broken.jpg" in found.error
    assert Path(result["page"]).is_file()


def test_heatmap_and_scenes_end_to_end(tmp_path):
    drawn = run(
        "scenes", "--text", "a red star and a blue ring", "--count", "2", "--out", "drawn", "--json", cwd=tmp_path
    )
    rows = drawn.json["rows"]
    assert [row["shape"] for row in rows] == ["star", "star"]
    asked = ("heatmap", "drawn/images/000000.png", "a red star", "--versus", "a blue ring")
    found = run(*asked, "--json", "--out", "heatmap.png", cwd=tmp_path)
    assert found.code == 0, found.error
    result = found.json
    assert len(result["grid"][0]) == 8
    assert (tmp_path / "heatmap.png").is_file()
    assert run("scenes", "--count", "6", "--out", "sheet.png", cwd=tmp_path).code == 0
    assert Image.open(tmp_path / "sheet.png").size[0] > 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("atlas", "--model", "VIT-B-32"), "unknown model 'VIT-B-32', did you mean"),
        (("atlas", "--model", "ViT-B-32"), "needs a pretrained tag"),
        (("atlas", "--images", "/nowhere"), "no image source"),
        (("atlas", "--pool", "nothing"), "nothing"),
        (("heatmap", "missing.png", "a star"), "cannot read the image"),
        (("scenes", "--shift", "colour/reed/0.5"), "red"),
        (("scenes", "--text", "a red unicorn"), "unicorn"),
        (("heat",), 'error: Unknown command "heat". Did you mean "head"?; summand --help says what there is'),
    ],
)
def test_bad_input_is_short_clear_and_exits_with_2(arguments, words, tmp_path):
    found = run(*arguments, cwd=tmp_path)
    assert found.code == 2
    assert words in found.error.replace("\n", " ")
    assert "Traceback" not in found.error
    assert found.out == ""
    assert not list(tmp_path.iterdir())


def atlas_of_many(folder: Path) -> None:
    with (folder / "said").open("w") as sys.stderr:
        main(["atlas", "--count", "100000", "--out", str(folder / "a")])


@pytest.mark.slow
def test_interrupting_leaves_with_130(tmp_path):
    """A process of its own, forked from this one, which has imported everything."""
    process = multiprocessing.get_context("fork").Process(target=atlas_of_many, args=(tmp_path,))
    process.start()
    try:
        deadline = time.time() + 60
        while not (tmp_path / "a").exists() and time.time() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
    finally:
        process.kill()
    error = (tmp_path / "said").read_text()
    assert process.exitcode == 130, error
    assert "Traceback" not in error
