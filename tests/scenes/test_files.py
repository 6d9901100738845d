from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from summand import progress
from summand.errors import SummandError
from summand.scenes import (
    ATTRIBUTES,
    GROUP_ATTRIBUTES,
    Causes,
    Chance,
    Scenes,
    contact_sheet,
    draw_causes,
    files,
    render,
    sample,
    write_folder,
)


@pytest.fixture(scope="module")
def few() -> Scenes:
    return sample(5, seed=3, groups=2)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_sheet_shows_every_picture_once_between_white_gaps(few: Scenes):
    sheet = np.asarray(contact_sheet(few.images, columns=3, scale=2))
    gap, side = 4, 128
    assert sheet.shape == (gap + 2 * (side + gap), gap + 3 * (side + gap), 3)
    for i, image in enumerate(few.images):
        top, left = gap + i // 3 * (side + gap), gap + i % 3 * (side + gap)
        assert np.array_equal(sheet[top : top + side : 2, left : left + side : 2], image)
        assert np.array_equal(sheet[top + 1 : top + side : 2, left + 1 : left + side : 2], image)
        assert (sheet[top - gap : top, left : left + side] == 255).all()
        assert (sheet[top : top + side, left - gap : left] == 255).all()
    assert (sheet[-(side + gap) :, -(side + gap) :] == 255).all()  # the sixth place is empty


def test_labels_stand_under_their_pictures(few: Scenes):
    labels = ["one", "", "three words here that need more than a single line", "four", "five"]
    sheet = np.asarray(contact_sheet(few.images, columns=5, scale=2, labels=labels).convert("L"))
    ink = [(sheet[4 + 128 :, 4 + i * 132 : 4 + i * 132 + 128] < 128).sum() for i in range(5)]
    assert ink[1] == 0
    assert min(ink[0], ink[3], ink[4]) > 20
    assert ink[2] > 3 * ink[0]
    assert all((sheet[132:, 132 * i : 132 * i + 4] == 255).all() for i in range(6))


def test_a_sheet_has_at_most_eight_columns_unless_asked():
    images = np.zeros((100, 8, 8, 3), np.uint8)
    assert contact_sheet(images, scale=1).size == (4 + 8 * 12, 4 + 13 * 12)
    assert contact_sheet(images, columns=20, scale=1).size == (4 + 20 * 12, 4 + 5 * 12)
    assert contact_sheet(images[:1], columns=20, scale=1).size == (16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((2, 8, 8, 3))}, r"expected uint8 \[image, height, width, 3\], got float64 \[2, 8, 8, 3\]"),
        ({"images": np.zeros((8, 8, 3), np.uint8)}, r"got uint8 \[8, 8, 3\]"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "at least one image"),
        ({"labels": ["one"]}, "one label for each of 2 images, got 1"),
        ({"columns": 0}, "at least 1, got columns=0"),
        ({"scale": 0}, "at least 1"),
    ],
)
def test_bad_sheets_are_refused(arguments: dict, message: str):
    with pytest.raises(SummandError, match=message):
        contact_sheet(**{"images": np.zeros((2, 8, 8, 3), np.uint8), **arguments})


def test_a_folder_holds_the_scenes(few: Scenes, tmp_path: Path):
    folder = write_folder(few, tmp_path / "deep" / "scenes")
    table = pd.read_csv(folder / "attributes.csv", keep_default_na=False)
    assert list(table) == ["file", *ATTRIBUTES, *(f"second_{name}" for name in GROUP_ATTRIBUTES)]
    assert table["file"].tolist() == [f"images/00000{i}.png" for i in range(5)]
    assert (table[list(ATTRIBUTES)] == few.attributes).all(axis=None)
    for name in GROUP_ATTRIBUTES:
        assert table[f"second_{name}"].tolist() == few.second[name].tolist()
    for i, file in enumerate(table["file"]):
        name = Path(file).name
        mask = read(folder / "masks" / name)
        assert np.array_equal(read(folder / file), few.images[i])
        assert np.array_equal(mask == 1, few.group_masks[i, 0])
        assert np.array_equal(mask == 2, few.group_masks[i, 1])
        assert mask.max() == 2
        assert np.array_equal(read(folder / "instances" / name), few.instances[i])
        assert np.array_equal(read(folder / "letters" / name), 255 * few.letter_masks[i].astype(np.uint8))
    readme = (folder / "README.txt").read_text()
    assert all(f"{name}/000000.png" in readme for name in ("images", "masks", "instances", "letters"))
    assert "attributes.csv" in readme
    assert "5 of them" in readme
    assert "second_" in readme


def test_one_group_has_no_second_columns(tmp_path: Path):
    folder = write_folder(sample(2, seed=0), tmp_path)
    assert list(pd.read_csv(folder / "attributes.csv")) == ["file", *ATTRIBUTES]
    assert "second_" not in (folder / "README.txt").read_text()


def test_a_mixed_folder_leaves_the_missing_second_group_empty(few: Scenes, tmp_path: Path):
    one, two = draw_causes(2, seed=0), few.causes
    causes = Causes(*(np.concatenate([getattr(c, n) for c in (one, two)]) for n in ("groups", "place", "letter")))
    mixed = render(causes, Chance.draw(len(causes), seed=0))
    lines = (write_folder(mixed, tmp_path) / "attributes.csv").read_text().splitlines()
    assert lines[1].endswith("," * 6)
    assert not lines[3].endswith(",")
    assert ".0," not in "".join(lines)  # counts stay whole numbers


def test_an_earlier_folder_is_replaced(few: Scenes, tmp_path: Path):
    write_folder(few, tmp_path)
    (tmp_path / "images" / "notes.txt").write_text("mine")
    write_folder(sample(2, seed=0), tmp_path)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["000000.png", "000001.png", "notes.txt"]
    assert len(pd.read_csv(tmp_path / "attributes.csv")) == 2


def test_no_scenes_make_a_folder_with_an_empty_table(tmp_path: Path):
    folder = write_folder(sample(0, seed=0), tmp_path)
    assert len(pd.read_csv(folder / "attributes.csv")) == 0
    assert not list((folder / "images").iterdir())


def test_the_folder_of_another_is_refused_and_left_alone(few: Scenes, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SummandError, match="is not empty and holds no scenes"):
        write_folder(few, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / files.MARKER).write_text("atlas\n")  # ours, but not scenes
    with pytest.raises(SummandError, match="is not empty and holds no scenes"):
        write_folder(few, tmp_path)


def test_a_file_in_the_way_is_refused(few: Scenes, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SummandError, match="is a file; choose a folder"):
        write_folder(few, tmp_path / "file")
    with pytest.raises(SummandError, match=r"cannot write to .*choose a folder that you may write to"):
        write_folder(few, tmp_path / "file" / "below")


def test_a_full_disk_leaves_no_part_and_nothing_of_others_goes(few: Scenes, tmp_path: Path, monkeypatch):
    write_folder(few, tmp_path / "old")
    (tmp_path / "old" / "images" / "mine.png").write_text("mine")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    for name in ("new", "old"):
        with pytest.raises(SummandError, match=r"cannot write to .*No space left on device; make room"):
            write_folder(few, tmp_path / name)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "old" / "images" / "mine.png"]


def test_no_permission_is_said(few: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SummandError, match=r"cannot write to .*: Permission denied; choose a folder"):
        write_folder(few, tmp_path / "new")


@pytest.mark.parametrize(("terminal", "quiet", "shown"), [(True, 2, True), (True, 5, False), (False, 2, False)])
def test_progress_is_shown_for_many_scenes_on_a_terminal(
    few: Scenes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    terminal: bool,
    quiet: int,
    shown: bool,
):
    monkeypatch.setattr(files, "_QUIET", quiet)
    monkeypatch.setattr(progress, "QUICK", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    write_folder(few, tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("writing scenes" in err) == shown
