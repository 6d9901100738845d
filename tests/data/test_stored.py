"""The same pictures out of everything that can hold pictures."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from summand import SummandError
from summand.data import open_images, open_source
from summand.data.skips import heard
from summand.data.sources import batches
from tests.hostile import as_named, spoil

NAMES = ["a.png", "deep/b.jpg", "ünï [red].png"]


@pytest.fixture
def pictures(tmp_path) -> tuple[Path, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(folder / name)
    return folder, [np.asarray(Image.open(folder / name).convert("RGB")) for name in NAMES]


def held(source: str, expected: list[np.ndarray], names: list[str] | None = None) -> None:
    found = open_source(source)
    assert len(found) == len(expected)
    assert names is None or [found.name(i) for i in range(len(found))] == names
    for again in (found, pickle.loads(pickle.dumps(found))):  # as a process that decodes gets it
        for i, picture in enumerate(expected):
            np.testing.assert_array_equal(np.asarray(again.image(i)), picture)
    assert len(open_source(source, 2)) == 2
    assert len(open_images(source)) == len(expected)


def zipped(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.write(folder / name, name)
        archive.writestr("__MACOSX/._a.png", b"resource fork")
        archive.writestr("../out.txt", b"no picture")
    return out


def test_a_zip(pictures, tmp_path):
    folder, expected = pictures
    held(str(zipped(folder, tmp_path / "all.zip")), expected, NAMES)
    assert not (tmp_path.parent / "out.txt").exists()


@pytest.mark.parametrize("ending", ["csv", "tsv", "txt", "jsonl", "parquet", "semicolon.csv", "latin.csv", "utf16.csv"])
@pytest.mark.parametrize("column", ["path", "file_name", "img_filename", " image "])
def test_a_table_of_paths_in_any_form(pictures, ending, column):
    folder, expected = pictures
    table, frame = folder / f"list.{ending}", pd.DataFrame({"caption": ["x; y, z", "ö", "-"], column: NAMES})
    if ending == "txt":
        table.write_text("# pictures\n" + "\n".join(NAMES) + "\n")
    elif ending == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    elif ending == "parquet":
        frame.set_index(["caption", column]).assign(more=1).to_parquet(table)  # an index of two levels
    else:
        separator = {"tsv": "\t", "semicolon.csv": ";"}.get(ending, ",")
        encoding = {"latin.csv": "latin-1", "utf16.csv": "utf-16"}.get(ending, "utf-8")
        frame.to_csv(table, index=False, sep=separator, encoding=encoding)
    held(str(table), expected, NAMES)


@pytest.mark.parametrize("as_hugging_face", [False, True])
def test_a_parquet_with_the_pictures_in_it(pictures, tmp_path, as_hugging_face):
    folder, expected = pictures
    cells = [(folder / name).read_bytes() for name in NAMES]
    rows = [{"bytes": cell, "path": name} for cell, name in zip(cells, NAMES, strict=True)]
    frame = pd.DataFrame({"image": rows if as_hugging_face else cells, "label": [0, 1, 0]})
    frame.to_parquet(tmp_path / "x.parquet")
    held(str(tmp_path / "x.parquet"), expected, NAMES if as_hugging_face else ["row 0", "row 1", "row 2"])


def test_a_column_can_be_named(pictures):
    folder, expected = pictures
    pd.DataFrame({"path": ["none.png"] * 3, "other": NAMES}).to_csv(folder / "list.csv", index=False)
    held(f"{folder / 'list.csv'}#other", expected, NAMES)
    with pytest.raises(SummandError, match=r"has no column 'othre', did you mean 'other'\?; it has path, other"):
        open_source(f"{folder / 'list.csv'}#othre")


def tarred(folder: Path, out: Path, names: list[str]) -> None:
    with tarfile.open(out, "w") as archive:
        for name in names:
            archive.add(folder / name, name)
            more = tarfile.TarInfo(f"{Path(name).stem}.json")
            more.size = 2
            archive.addfile(more, io.BytesIO(b"{}"))


def test_tars_of_webdataset(pictures, tmp_path):
    folder, expected = pictures
    tarred(folder, tmp_path / "set-008.tar", NAMES[:2])
    tarred(folder, tmp_path / "set-009.tar", NAMES[2:])
    names = [f"set-008.tar/{NAMES[0]}", f"set-008.tar/{NAMES[1]}", f"set-009.tar/{NAMES[2]}"]
    held(f"wds:{tmp_path}/set-{{008..009}}.tar", expected, names)
    held(f"wds:{tmp_path}/set-*.tar", expected, names)
    held(str(tmp_path / "set-008.tar"), expected[:2], names[:2])


def test_a_compressed_or_broken_tar_is_refused_with_the_remedy(pictures, tmp_path):
    folder, _ = pictures
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(folder / "a.png", "a.png")
    with pytest.raises(SummandError, match="unpack it with gunzip first"):
        open_source(str(tmp_path / "x.tar.gz"))
    (tmp_path / "y.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(SummandError, match=r"y\.tar cannot be read as a tar"):
        open_source(str(tmp_path / "y.tar"))


def test_behind_an_address(pictures, tmp_path):
    import fsspec

    folder, expected = pictures
    files = fsspec.filesystem("memory")
    for name in NAMES:
        files.pipe(f"/bucket/{name}", (folder / name).read_bytes())
    files.pipe("/bucket/.cache/x.png", b"hidden")
    files.pipe("/all.zip", zipped(folder, tmp_path / "all.zip").read_bytes())
    held("memory://bucket", expected, NAMES)
    held("memory://all.zip", expected, NAMES)


def test_a_data_set_of_hugging_face(pictures, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder, expected = pictures
    features = datasets.Features({"label": datasets.Value("int64"), "image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"label": [0, 1, 2], "image": [str(folder / name) for name in NAMES]}, features)
    rows.save_to_disk(tmp_path / "one")
    held(f"hf:{tmp_path / 'one'}", expected)
    held(str(tmp_path / "one"), expected)
    datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(tmp_path / "two")
    assert len(open_source(f"hf:{tmp_path / 'two'}@test")) == 1
    with pytest.raises(SummandError, match="has the splits train, test; choose one with"):
        open_source(f"hf:{tmp_path / 'two'}")
    with pytest.raises(SummandError, match="no split 'val'; it has train, test"):
        open_source(f"hf:{tmp_path / 'two'}@val")


def test_hidden_folders_are_left_out_and_said(pictures, capsys):
    folder, expected = pictures
    for name in (".ipynb_checkpoints/a.png", "__MACOSX/deep/b.png", "deep/._b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    held(str(folder), expected, NAMES)
    assert "3 pictures in hidden folders are left out" in capsys.readouterr().err


def test_whatever_lies_in_a_folder_is_read_or_skipped_with_its_reason(pictures):
    folder, _ = pictures
    known = spoil(folder, (folder / "a.png").read_bytes())
    skipped: list = []
    source = open_source(str(folder))
    with heard() as said:
        read = [source.name(i) for batch in batches(source, 5, skipped) for i in batch.indices]
    reasons = {item.name: item.reason for item in skipped}
    for name, why in known.items():
        if why is None:
            assert as_named(name) in read, name
        else:
            assert why in reasons[as_named(name)], name
    assert "caf\\xe9.png" in read
    assert all(name.isprintable() for name in [*read, *reasons])
    assert "folder.png" not in [*read, *reasons]
    assert said == reasons


def test_a_stream_of_hugging_face(pictures, tmp_path):
    """In any order, more than once, a row without a picture among them."""
    folder, expected = pictures
    rows = [{"bytes": (folder / name).read_bytes(), "path": None} for name in NAMES]
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"label": [0, 1, 2, 3], "image": [*rows, {"bytes": None, "path": None}]})
    (tmp_path / "set").mkdir()
    made.cast_column("image", datasets.Image()).to_parquet(tmp_path / "set" / "train.parquet")
    source = open_source(f"hf-stream:{tmp_path / 'set'}@train", 4)
    assert len(source) == 4
    for index in (0, 2, 1, 1, 2):
        np.testing.assert_array_equal(np.asarray(source.image(index)), expected[index])
    with pytest.raises(OSError, match="no picture"):
        source.image(3)
    skipped: list = []
    assert [i for batch in batches(source, 2, skipped) for i in batch.indices] == [0, 1, 2]
    assert [item.name for item in skipped] == ["row 3"]
    more = open_source(f"hf-stream:{tmp_path / 'set'}@train", 9)
    with pytest.raises(OSError, match="ends before"):
        more.image(8)
    with pytest.raises(SummandError, match="cannot be loaded"):
        open_source(f"hf-stream:{tmp_path / 'none'}", 4)
    with pytest.raises(SummandError, match="--count"):
        open_source(f"hf-stream:{tmp_path / 'set'}@train")


def test_a_folder_of_files_is_a_data_set_too(pictures, tmp_path):
    """Parquet as the hub keeps it, and not as `save_to_disk` writes it."""
    datasets = pytest.importorskip("datasets")
    folder, expected = pictures
    rows = datasets.Dataset.from_dict({"image": [str(folder / name) for name in NAMES]})
    (tmp_path / "files").mkdir()
    rows.cast_column("image", datasets.Image()).to_parquet(tmp_path / "files" / "train-0.parquet")
    held(f"hf:{tmp_path / 'files'}@train", expected)


@pytest.mark.parametrize(("given", "said"), [("hf:", "names no data set"), ("wds:", "names no tars")])
def test_a_source_without_a_name(given, said):
    with pytest.raises(SummandError, match=said):
        open_source(given)
