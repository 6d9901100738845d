"""What is taken for a picture, and what is said of the rest: nothing that looks like one is left out in silence."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image, features

from summand.data import open_source
from summand.data.listing import MOST_BYTES, Listing
from summand.data.pictures import read_image
from summand.errors import SummandError

NAMES = ("a.png", "deep/b.JPG", "c.heic", "d.HEIC", "e.svg", ".hidden/f.png", "__MACOSX/g.jpg", "notes.txt", "h.jfif")
SAID = ("2 pictures in hidden folders are left out", "2 .heic, 1 .svg; save them as .jpg or .png")


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in NAMES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "teal").save(path, "PNG")
    return tmp_path / "photos"


def put_in(folder: Path, kind: str) -> str:
    """The same files in a folder, a zip, a tar, or behind an address."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
            for path in paths:
                archive.write(path, path.relative_to(folder))
    elif kind == "tar":
        with tarfile.open(folder.with_suffix(".tar"), "w") as tar:
            for path in paths:
                tar.add(path, str(path.relative_to(folder)))
    elif kind == "memory":
        fsspec = pytest.importorskip("fsspec")
        files = fsspec.filesystem("memory")
        for path in paths:
            files.pipe(f"/listing/{path.relative_to(folder)}", path.read_bytes())
        return "memory://listing"
    return str(folder if kind == "folder" else folder.with_suffix(f".{kind}"))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "memory"])
def test_the_same_pictures_wherever_they_lie(folder, capsys, kind):
    source = open_source(put_in(folder, kind))
    assert sorted(source.name(i).removeprefix("photos.tar/") for i in range(len(source))) == [
        "a.png", "deep/b.JPG", "h.jfif"
    ]  # fmt: skip
    assert source.image(0).size == (4, 4)
    said = capsys.readouterr().err
    assert all(line in said for line in SAID), said


def test_a_place_of_nothing_but_photographs_of_a_telephone(tmp_path, capsys):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(SummandError, match="no images in"):
        open_source(str(tmp_path))
    assert "Pillow does not read them: 1 .heic; save them as .jpg" in capsys.readouterr().err


def test_what_is_too_large_to_unpack_is_said(capsys):
    listing = Listing("a\x1b[31m.zip")
    assert listing.takes("a.png", MOST_BYTES)
    assert not listing.takes("b.png", MOST_BYTES + 1)
    listing.say()
    assert capsys.readouterr().err == "a\\x1b[31m.zip: left out, since they are larger than 1 GiB: 1 picture\n"


def test_a_zip_whose_entry_has_no_name(tmp_path):
    """`ZipInfo.is_dir` raises an IndexError for it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.png", b"one")
    content = (tmp_path / "a.zip").read_bytes()
    at = content.rindex(b"PK\x01\x02")
    content = content[:at] + content[at:].replace(b"\x05\x00", b"\x00\x00", 1).replace(b"x.png", b"", 1)
    content = content[:-10] + (len(content[at:]) - 22).to_bytes(4, "little") + content[-6:]
    (tmp_path / "a.zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [""]
    with pytest.raises(SummandError, match="no images in"):
        open_source(str(tmp_path / "a.zip"))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path):
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "a.avif")
    source = open_source(str(tmp_path))
    assert source.name(0) == "a.avif"
    pixel = read_image(tmp_path / "a.avif").getpixel((8, 8))
    assert max(abs(one - other) for one, other in zip(pixel, (0, 128, 128), strict=True)) < 12


def test_avif_bytes_under_another_name_and_in_a_stream():
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    made = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(made, "AVIF")
    made.seek(0)
    assert read_image(made).size == (16, 16)


def test_a_folder_inside_that_may_not_be_read_is_said(folder, capsys, monkeypatch):
    real = os.scandir

    def scandir(place):
        if Path(place).name == "deep":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    source = open_source(str(folder))
    assert [source.name(i) for i in range(len(source))] == ["a.png", "h.jfif"]
    said = capsys.readouterr().err
    assert f"since these folders cannot be read: {folder / 'deep'}: Permission denied" in said
