"""Pictures of every kind, as a viewer shows them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

import summand
from summand import SummandError
from summand.data.pictures import as_rgb, read_image

COLOUR = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
RAMP = np.linspace(0, 1, 96).reshape(8, 12)
SHOWN = (RAMP * 255).round()


def write_tiff(path: Path, values: np.ndarray, bits: int, photometric: int = 1, largest: int | None = None) -> None:
    """A TIFF by hand, one strip, little-endian: Pillow writes none of 12 bits."""
    height, width = values.shape
    if bits == 12:
        low, high = values[:, 0::2].astype(np.uint32), values[:, 1::2].astype(np.uint32)
        packed = low << 12 | high
        data = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=2).astype(np.uint8).tobytes()
    else:
        data = values.astype(f"<u{bits // 8}").tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, height)]
    tags += [(279, len(data))] + ([(281, largest)] if largest else [])
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def close(found: Image.Image, expected: np.ndarray, within: float = 1) -> None:
    assert found.mode == "RGB"
    expected = expected if expected.ndim == 3 else expected[..., None]
    assert np.abs(np.asarray(found).astype(float) - expected).max() <= within


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_tiff_of_any_depth_spans_black_to_white(tmp_path, bits):
    write_tiff(tmp_path / "x.tif", (RAMP * (2**bits - 1)).round().astype(int), bits)
    close(read_image(tmp_path / "x.tif"), SHOWN)


def test_a_dark_12_bit_picture_stays_dark_where_the_file_says_how_deep_it_is(tmp_path):
    write_tiff(tmp_path / "x.tif", (RAMP * 200).round().astype(int), 12)
    close(read_image(tmp_path / "x.tif"), RAMP * 200 / 4095 * 255)
    write_tiff(tmp_path / "y.tif", (RAMP * 200).round().astype(int), 16, largest=4095)
    close(read_image(tmp_path / "y.tif"), RAMP * 200 / 4095 * 255)
    write_tiff(tmp_path / "z.tif", (RAMP * 16383).round().astype(int), 16, largest=16383)
    close(read_image(tmp_path / "z.tif"), SHOWN)


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_sensors_numbers_in_16_bits_are_no_black_picture(tmp_path, bits, suffix):
    values = (RAMP * (2**bits - 1)).round().astype(np.uint16)
    Image.fromarray(values).save(tmp_path / f"x.{suffix}")
    close(read_image(tmp_path / f"x.{suffix}"), SHOWN)
    close(as_rgb(Image.fromarray(values.astype(np.int32))), SHOWN)


@given(st.integers(0, 65_535), st.integers(0, 1000))
def test_brightness_is_in_the_order_of_the_numbers(largest, seed):
    values = np.random.default_rng(seed).integers(0, largest + 1, (4, 5)).astype(np.uint16)
    found = np.asarray(as_rgb(Image.fromarray(values)))[..., 0]
    order = values.ravel().argsort(kind="stable")
    assert (np.diff(found.ravel()[order].astype(int)) >= 0).all()
    assert found.max() >= 63 or not 64 <= values.max() < 4096  # never darker than the nearest depth


def test_min_is_white(tmp_path):
    """X-rays are kept so."""
    write_tiff(tmp_path / "x.tif", (RAMP * 65535).round().astype(int), 16, photometric=0)
    close(read_image(tmp_path / "x.tif"), 255 - SHOWN)


def test_numbers_of_other_kinds(tmp_path):
    close(as_rgb(Image.fromarray(RAMP.astype(np.float32))), SHOWN)
    close(as_rgb(Image.fromarray((RAMP * 240).astype(np.float32))), SHOWN)
    close(as_rgb(Image.fromarray((RAMP * 1e6).astype(np.int32))), SHOWN)
    close(as_rgb(Image.fromarray((RAMP * 1.0 - 0.002).astype(np.float32))), SHOWN)  # the overshoot of a filter
    close(as_rgb(Image.fromarray(RAMP > 0.5)), (RAMP > 0.5) * 255)
    Image.fromarray((RAMP * 4095).astype(np.float32)).save(tmp_path / "x.tif")
    close(read_image(tmp_path / "x.tif"), SHOWN)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.float32([[0, np.nan]]), "NaN or infinite"),
        (np.float32([[0, np.inf]]), "NaN or infinite"),
        (np.int32([[-1000, 3000]]), "negative numbers, down to -1000"),
        (np.float32([[-1, 1]]), "negative numbers, down to -1"),
    ],
)
def test_numbers_that_no_viewer_shows_are_refused(tmp_path, values, said):
    with pytest.raises(SummandError, match=said):
        as_rgb(Image.fromarray(values))
    Image.fromarray(values).save(tmp_path / "x.tif")
    with pytest.raises(OSError, match=said):
        read_image(tmp_path / "x.tif")


def test_colours_of_12_bits_in_16_are_refused_and_of_16_are_read(tmp_path):
    """Pillow has thrown the lower byte away by the time the picture is open."""
    cv2 = pytest.importorskip("cv2")
    colours = COLOUR.astype(np.uint16)
    for name in ("x.png", "x.tif"):
        cv2.imwrite(str(tmp_path / name), colours[..., ::-1] * 257)
        close(read_image(tmp_path / name), COLOUR)
        cv2.imwrite(str(tmp_path / name), colours[..., ::-1] * 16)
        with pytest.raises(OSError, match="12 bits or less in 16"):
            read_image(tmp_path / name)
        cv2.imwrite(str(tmp_path / name), colours * 0)
        close(read_image(tmp_path / name), COLOUR * 0)


def test_what_is_transparent_is_white(tmp_path):
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:10] = 255
    expected = np.where(alpha[..., None] > 0, COLOUR, 255)
    layered = Image.fromarray(np.dstack([COLOUR, alpha]))
    close(as_rgb(layered), expected)
    close(as_rgb(layered.convert("RGBa")), expected)
    grey = Image.fromarray(np.dstack([COLOUR[..., 0], alpha]), "LA")
    close(as_rgb(grey), np.where(alpha > 0, COLOUR[..., 0], 255))
    palette = Image.fromarray(COLOUR[..., 0] % 4, "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    palette.save(tmp_path / "x.png", transparency=2)
    rows = np.array([[10, 20, 30], [40, 50, 60], [255, 255, 255], [100, 110, 120]])[COLOUR[..., 0] % 4]
    close(read_image(tmp_path / "x.png"), rows)
    Image.fromarray(COLOUR).save(tmp_path / "key.png", transparency=tuple(int(c) for c in COLOUR[3, 4]))
    assert read_image(tmp_path / "key.png").getpixel((4, 3)) == (255, 255, 255)
    close(read_image(tmp_path / "key.png").crop((5, 3, 30, 20)), COLOUR[3:, 5:])
    sixteen = Image.fromarray((RAMP * 65535).astype(np.uint16))
    sixteen.info["transparency"] = 0
    assert as_rgb(sixteen).getpixel((0, 0)) == (255, 255, 255)


def test_other_colour_spaces(tmp_path):
    picture = Image.fromarray(COLOUR)
    for mode in ("CMYK", "YCbCr", "HSV", "RGBX"):
        close(as_rgb(picture.convert(mode)), COLOUR, within=8)
    close(as_rgb(picture.convert("L")), np.asarray(picture.convert("L")))
    picture.convert("P").save(tmp_path / "x.gif", save_all=True, append_images=[Image.new("P", picture.size)])
    close(read_image(tmp_path / "x.gif"), np.asarray(picture.convert("P").convert("RGB")))


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif"])
def test_every_way_in_turns_a_picture_once(tmp_path, vit, orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{form}"
    Image.fromarray(COLOUR).save(path, exif=exif, **({"lossless": True} if form == "webp" else {}))
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    upright = read_image(path)
    np.testing.assert_array_equal(np.asarray(upright), expected)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(np.asarray(as_rgb(as_rgb(opened))), expected)  # once
    pixels = vit.preprocess(Image.fromarray(expected))
    for image in (Image.open(path), upright, Image.open(path).convert("RGBA"), as_rgb(Image.open(path))):
        assert torch.equal(vit.preprocess(image), pixels)
    for windows in (None, 1):
        found = summand.heatmap(vit, Image.open(path), ["a star"], windows=windows)
        known = summand.heatmap(vit, Image.fromarray(expected), ["a star"], windows=windows)
        np.testing.assert_array_equal(found.picture, known.picture)
        np.testing.assert_array_equal(found.grid, known.grid)


def test_an_exif_record_that_is_broken_says_nothing():
    picture = Image.fromarray(COLOUR)
    picture.info["exif"] = b"Exif\0\0garbage that is no TIFF"
    np.testing.assert_array_equal(np.asarray(as_rgb(picture)), COLOUR)


def test_a_file_that_breaks_off_is_named_in_python_too(tmp_path, vit):
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    whole = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(whole[: len(whole) // 2])
    for work in (vit.preprocess, lambda image: summand.heatmap(vit, image, "a star", windows=1)):
        with pytest.raises(SummandError, match="cannot be read"):
            work(Image.open(tmp_path / "x.png"))


def test_an_upright_rgb_picture_is_not_copied():
    picture = Image.fromarray(COLOUR)
    assert as_rgb(picture) is picture


@pytest.mark.parametrize("mode", ["F", "I", "I;16"])
@pytest.mark.parametrize("at_once", [1, 7, 1 << 20])
def test_large_pictures_are_read_some_rows_at_a_time(rng, monkeypatch, mode, at_once):
    """As the formula says for all of it at once: values over the full scale, in 255 steps."""
    kind = {"F": np.float32, "I": np.int32, "I;16": np.uint16}[mode]
    values = (rng.random((9, 5)) * (3 if mode == "F" else 60_000)).astype(kind)
    full = max(1.0, float(values.max())) if mode == "F" else 65_535.0
    monkeypatch.setattr("summand.data.pictures._AT_ONCE", at_once)
    found = np.asarray(as_rgb(Image.fromarray(values)))
    expected = np.round(values.astype(np.float64) / full * 255).astype(np.uint8)
    assert (found == expected[..., None]).all()


def test_a_large_picture_below_the_limit_is_read_without_a_warning(tmp_path, recwarn):
    Image.new("1", (9_500, 9_500)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").size == (9_500, 9_500)
    assert not recwarn.list
