"""Pictures that are removed, or cut short, while a command is at work: before its first pass, in the middle of one, or
between two. It goes on without them, or says in one line why it cannot; what was left out is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import summand.data.sources
from tests import hostile
from tests.commands import command

pytestmark = pytest.mark.slow

COUNT = 48
GONE = [f"good {number:03}.png" for number in range(COUNT) if number % 6 in (1, 3)]
COMMANDS = {
    "survey": (("survey", "BAD", "--units", "heads,neurons:4", "--max-skipped", "1"), (1, 25, 45, 85)),
    "atlas": (("atlas", "BAD", "--layers", "5"), (55, 100)),
    "retrieve": (("retrieve", "GOOD/good 001.png", "BAD", "--top", "3"), (30,)),
    "concepts": (("concepts", "GOOD/good 001.png", "--reference", "BAD"), (55,)),
    "shift to": (("shift", "GOOD", "BAD"), (30,)),
    "shift from": (("shift", "BAD", "GOOD"), (55,)),
    "compare": (("compare", "scenes-vit-tied", "BAD", "--model", "scenes-vit", "--units", "heads"), (60, 90, 105)),
    "attack": (("attack", "star", "cross", "--reference", "BAD", "--repeats", "0", "--indirect", "4"), (30,)),
    "registers": (("registers", "BAD"), (55,)),
    "perturb": (("perturb", "BAD", "a red star", "a blue ring", "--methods", "random"), (10,)),
    "heatmap": (("heatmap", "BAD", "a red star"), (30,)),
    "subconcepts": (("subconcepts", "BAD", "3", "--model", "scenes-rn", "--top", "3"), (55,)),
    "sae": (("sae", "train", "BAD", "--layer", "3", "--latents", "16", "--top-k", "2"), (30,)),
    "inject": (("inject", "BAD", "--classes", "shape", "--attribute", "place"), (30,)),
    "match": (("match", "GOOD/good 001.png", "a red star", "--reference", "BAD"), (30,)),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return hostile.pictures(tmp_path_factory.mktemp("vanishing") / "good", COUNT)


@pytest.mark.parametrize(("name", "at"), [(name, at) for name, (_, places) in COMMANDS.items() for at in places])
def test_pictures_that_vanish_at_the_nth_that_is_read(good, tmp_path, monkeypatch, unchecked, name, at):
    folder, read = tmp_path / "pictures", 0
    shutil.copytree(good, folder)
    monkeypatch.setenv("SUMMAND_CACHE", str(tmp_path / "cache"))
    real = summand.data.sources.read_image

    def reading(path):
        nonlocal read
        read += isinstance(path, Path) and path.parent == folder
        if read == at and (folder / GONE[0]).exists():
            for number, one in enumerate(GONE):
                if number % 2:
                    (folder / one).write_bytes((folder / one).read_bytes()[:99])
                else:
                    (folder / one).unlink()
        return real(path)

    monkeypatch.setattr(summand.data.sources, "read_image", reading)
    given = [word.replace("GOOD", str(good)).replace("BAD", str(folder)) for word in COMMANDS[name][0]]
    found = command(*given, "--out", tmp_path / "out")
    assert read >= at, f"only {read} pictures were read"
    assert found.code in (0, 1), found.error
    assert "Traceback" not in found.error
    named = [one for one in GONE if one in found.error]
    assert named, found.error
    assert len(named) == len(GONE) or at > 1, found.error
