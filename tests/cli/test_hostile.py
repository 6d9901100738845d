"""One folder of good and hostile pictures, and every command that reads pictures: none hangs or falls, and each file
that is left out is named with its reason."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import summand
from tests import hostile
from tests.commands import Finished, command

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def ends():
    """A command that hangs is one that failed."""

    def late(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return hostile.pictures(tmp_path_factory.mktemp("good") / "pictures")


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder, and which of its files cannot be read, by the names that sources give them, and why."""
    folder = hostile.pictures(tmp_path_factory.mktemp("bad") / "pictures", 44)
    known = hostile.spoil(folder, (folder / "good 000.png").read_bytes())
    (folder / "!before all others.png").write_bytes(b"broken")
    known["!before all others.png"] = "not an image"
    return folder, {hostile.as_named(name): why for name, why in known.items() if why is not None}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """Two classes, one of them hostile."""
    home = tmp_path_factory.mktemp("labelled")
    hostile.pictures(home / "ring", 20, seed=1)
    known = hostile.spoil(hostile.pictures(home / "star", 20, seed=2), (home / "ring" / "good 000.png").read_bytes())
    return home, {f"star/{hostile.as_named(name)}": why for name, why in known.items() if why is not None}


def told(found: Finished, known: dict[str, str], codes: tuple[int, ...] = (0,)) -> None:
    assert found.code in codes, found.error
    flat = " ".join(found.error.split())
    for name, why in known.items():
        assert name in found.error, (name, found.error)
        assert why in flat, why
    assert "\x1b" not in found.error + found.out
    assert "Traceback" not in found.error


COMMANDS = {
    "heatmap": ("heatmap", "BAD", "a red star"),
    "perturb": ("perturb", "BAD", "a red star", "a blue ring", "--methods", "random"),
    "retrieve": ("retrieve", "GOOD/good 001.png", "BAD", "--top", "3"),
    "concepts": ("concepts", "GOOD/good 001.png", "--reference", "BAD"),
    "shift to": ("shift", "GOOD", "BAD"),
    "shift from": ("shift", "BAD", "GOOD"),
    "registers": ("registers", "BAD"),
    "subconcepts": ("subconcepts", "BAD", "3", "--model", "scenes-rn", "--top", "3"),
    "survey": ("survey", "BAD", "--units", "heads", "--max-skipped", "1"),
    "atlas": ("atlas", "BAD", "--layers", "5"),
    "attack": ("attack", "star", "cross", "--reference", "BAD", "--repeats", "0", "--indirect", "4"),
    "compare": ("compare", "scenes-vit-tied", "BAD", "--model", "scenes-vit", "--units", "heads"),
    "align": ("align", "vit_tiny_patch16_224", "BAD", "--model", "scenes-vit", "--random-vision", "--pixels", "clip",
              "--vision-settings", "img_size=64,patch_size=16,embed_dim=12,depth=2,num_heads=2"),
    "sae": ("sae", "train", "BAD", "--layer", "3", "--latents", "16", "--top-k", "2"),
    "inject": ("inject", "BAD", "--classes", "shape", "--attribute", "place"),
    "match": ("match", "GOOD/good 001.png", "a red star", "--reference", "BAD"),
    "a head's map": ("heatmap", "GOOD/good 001.png", "--head", "5.3", "--reference", "BAD"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_on_a_folder(good, bad, tmp_path, name):
    folder, known = bad
    given = [word.replace("GOOD", str(good)).replace("BAD", str(folder)) for word in COMMANDS[name]]
    found = command(*given, "--out", tmp_path / ("out.png" if name == "a head's map" else "out"))
    told(found, known, (0, 1) if name.startswith("shift") else (0,))


@pytest.mark.parametrize("form", ["folder", "table"])
@pytest.mark.parametrize("verb", ["ablate", "debias"])
def test_commands_on_labelled_images(labelled, tmp_path, verb, form):
    home, known = labelled
    rows = [(path.relative_to(home), path.parent.name) for path in sorted(home.glob("*/*")) if not path.is_dir()]
    table = pd.DataFrame([(os.fsencode(path).decode("latin-1"), y, int(i % 2)) for i, (path, y) in enumerate(rows)])
    table.columns = ["path", "label", "place"]
    table = table[~table["path"].str.contains("caf")]  # no text file can name it
    table.to_csv(home / "table.csv", index=False)
    if verb == "debias" and form == "folder":
        table.to_csv(home / "groups.csv", index=False)
    given = home if form == "folder" else home / "table.csv"
    more = ["--units", "5.3", "--groups", home / "table.csv" if form == "folder" else "place"]
    more = more if verb == "debias" else ["--what", "attention"]
    found = command(verb, given, *more, "--out", tmp_path / "out")
    told(found, known)


def test_segment(tmp_path):
    for name in ("images", "masks"):
        hostile.pictures(tmp_path / name, 3)
    for path in (tmp_path / "masks").iterdir():
        with Image.open(path) as opened:
            size = opened.size
        Image.fromarray(np.ones(size[::-1], np.uint8)).save(path)
    (tmp_path / "classes.txt").write_text("0: unlabelled\n1: star\n2: ring\n")
    os.mkfifo(tmp_path / "images" / "pipe.png")
    (tmp_path / "masks" / "pipe.png").write_bytes((tmp_path / "masks" / "good 000.png").read_bytes())
    (tmp_path / "images" / "mask.png").write_bytes((tmp_path / "images" / "good 000.png").read_bytes())
    os.mkfifo(tmp_path / "masks" / "mask.png")
    found = command("segment", tmp_path, "--methods", "random", "--out", tmp_path / "out")
    told(found, {"pipe": "a pipe", "mask": "a pipe"})


def test_a_pipe_in_a_table(good, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    lines = [*(f"{path}" for path in sorted(good.iterdir())), "pipe.png", "nothing.png"]
    for name in ("a.csv", "a.txt"):
        (tmp_path / name).write_text("\n".join(["path", *lines] if name == "a.csv" else lines))
        found = command(
            "survey", tmp_path / name, "--units", "heads", "--top", "2", "--out", tmp_path / f"run-{name[2:]}"
        )
        told(found, {"pipe.png": "a device or a pipe", "nothing.png": "No such file"})


def test_pictures_that_are_gone_when_they_are_shown(vit, tmp_path, monkeypatch):
    """Removed or broken between the pass and the page: what stands for them is drawn."""
    folder = hostile.pictures(tmp_path / "pictures", 24)
    query = (folder / "good 003.png").read_bytes()
    (tmp_path / "query.png").write_bytes(query)
    assert command("survey", folder, "--units", "heads", "--top", "3", "--out", tmp_path / "run").code == 0

    before = summand.studies.retrieve.run.build_index

    def then_gone(*args, **options):
        made = before(*args, **options)
        for number, path in enumerate(sorted(folder.iterdir())):
            if number % 2:
                path.unlink()
            else:
                path.write_bytes(query[:99])
        return made

    monkeypatch.setattr("summand.studies.retrieve.run.build_index", then_gone)
    found = command("retrieve", tmp_path / "query.png", folder, "--out", tmp_path / "near.png")
    assert found.code == 0, found.error
    assert (tmp_path / "near.png").stat().st_size > 1000
    found = command("unit", tmp_path / "run", "5.3", "--out", tmp_path / "unit.png")
    assert found.code in (0, 2), found.error
    assert "Traceback" not in found.error
    found = command("label", tmp_path / "run")
    assert found.code == 0, found.error
