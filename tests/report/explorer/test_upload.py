"""Bad uploads are refused in words, before they are decoded where they are too large."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from summand import SummandError
from summand.report.explorer.upload import read_upload


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header says so many pixels, with next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def cut_jpeg() -> bytes:
    found = io.BytesIO()
    Image.effect_noise((200, 200), 50).convert("RGB").save(found, format="JPEG")
    return found.getvalue()[:500]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.png", b"", "empty \\(0 bytes\\)"),
        ("notes.jpg", b"these are notes, no picture", "not an image that Pillow can read, whatever its name says"),
        ("page.svg", b"<svg onload='alert(1)'/>", "not an image that Pillow can read"),
        ("cut.jpg", cut_jpeg(), "cannot be read as a picture"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cannot be read as a picture"),
        ("large.png", png_of(9000, 9000), "9,000 × 9,000 pixels, more than 50 million"),
        ("bomb.png", png_of(60000, 60000), "far too large"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_picture_is_refused_in_words(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SummandError, match=says):
        read_upload(tmp_path / name)


def test_a_file_that_is_gone_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(SummandError, match="cannot be read as a picture"):
            read_upload(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1", "I;16"])
def test_pictures_of_every_mode_come_back_as_rgb(tmp_path, mode):
    path = tmp_path / ("one.tif" if mode in ("CMYK", "I;16") else "one.png")
    Image.fromarray(np.zeros((5, 7), dtype=np.uint16)).save(path) if mode == "I;16" else Image.new(mode, (7, 5)).save(
        path
    )
    found = read_upload(path)
    assert (found.mode, found.size) == ("RGB", (7, 5))


def test_a_picture_that_was_held_sideways_is_upright(tmp_path):
    sideways = Image.new("RGB", (40, 20), "red")
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "one.jpg", exif=exif)
    assert read_upload(tmp_path / "one.jpg").size == (20, 40)
