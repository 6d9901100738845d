"""Commands about one picture, given each of the hostile ones: an answer, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import hostile
from tests.commands import command

pytestmark = pytest.mark.slow

COMMANDS = {
    "heatmap": ("heatmap", "PICTURE", "a red star", "--out", "OUT.png"),
    "words": ("words", "a red star", "--image", "PICTURE"),
    "match": ("match", "PICTURE", "a red star", "--out", "OUT"),
    "match with another": ("match", "GOOD", "PICTURE", "--out", "OUT"),
    "concepts": ("concepts", "PICTURE", "--reference", "RUN", "--out", "OUT"),
    "retrieve": ("retrieve", "PICTURE", "RUN", "--out", "OUT.png"),
    "find": ("find", "RUN", "PICTURE", "--out", "OUT"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("alone")
    hostile.pictures(place / "good", 24)
    found = command("survey", place / "good", "--units", "heads", "--top", "2", "--out", place / "run")
    assert found.code == 0, found.error
    return place


@pytest.fixture(scope="module")
def pictures(home) -> dict[Path, str | None]:
    """Each and why it cannot be read; None where it can."""
    folder = hostile.pictures(home / "bad", 1)
    known = hostile.spoil(folder, (folder / "good 000.png").read_bytes())
    known |= {"folder.png": "folder", "nothing at all.png": "No such file", "cost $x_{$.png": None}
    (folder / "cost $x_{$.png").write_bytes((folder / "good 000.png").read_bytes())
    return {folder / name: why for name, why in known.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_one_picture(home, pictures, tmp_path, unchecked, recwarn, name):
    for picture, why in pictures.items():
        named = {"PICTURE": str(picture), "GOOD": str(home / "good" / "good 001.png"), "RUN": str(home / "run")}
        out = str(tmp_path / f"out-{len(list(tmp_path.iterdir()))}")
        found = command(*(named.get(word, word.replace("OUT", out)) for word in COMMANDS[name]))
        where = f"{name}, {picture.name!r}: {found}"
        assert found.code == (0 if why is None else 2), where
        assert "\x1b" not in found.out + found.error, where
        if why is not None:
            errors = [line for line in found.error.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1, where
            assert hostile.as_named(picture.name) in errors[0], where
            assert why in errors[0], where
            assert found.out == "", where
    assert not [one for one in recwarn if "Glyph" in str(one.message)]
