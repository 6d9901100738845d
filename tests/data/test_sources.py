from __future__ import annotations

import warnings
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from summand import SummandError
from summand.border import foreign
from summand.data import open_source
from summand.data.pictures import read_image
from summand.data.sources import batches


@pytest.fixture
def folder(tmp_path):
    """Eight readable pictures of every awkward kind, three that cannot be read, and a file that is no picture."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "deeper").mkdir()
    Image.fromarray(colour).save(tmp_path / "a.png")
    Image.fromarray(colour).convert("L").save(tmp_path / "grey.jpg")
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.dstack([colour, colour[..., 0]])).save(tmp_path / "deeper" / "alpha.PNG")
    Image.fromarray((np.arange(600).reshape(20, 30) * 100).astype(np.uint16)).save(tmp_path / "sixteen.png")
    Image.fromarray(colour).save(tmp_path / "b.gif", save_all=True, append_images=[Image.fromarray(colour[::-1])])
    turned = Image.fromarray(colour)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1), "red").save(tmp_path / "one.bmp")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "liar.png").write_text("not a picture")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_broken_files_are_skipped_named_and_cost_nothing_else(folder):
    source = open_source(str(folder))
    assert len(source) == 11
    skipped = []
    found = [source.name(i) for batch in batches(source, 3, skipped) for i in batch.indices]
    assert sorted(item.name for item in skipped) == ["empty.jpg", "liar.png", "truncated.png"]
    assert all(item.reason for item in skipped)
    assert len(found) == 8
    assert "deeper/alpha.PNG" in found


def test_every_mode_becomes_upright_rgb(folder):
    for name in ("a.png", "grey.jpg", "cmyk.jpg", "deeper/alpha.PNG", "sixteen.png", "b.gif", "turned.jpg", "one.bmp"):
        assert read_image(folder / name).mode == "RGB"
    assert read_image(folder / "turned.jpg").size == (20, 30)
    sixteen = np.asarray(read_image(folder / "sixteen.png"))
    assert sixteen.max() == round(59_900 / 65_535 * 255)  # as a viewer shows it
    assert 100 < sixteen.mean() < 150  # scaled, not clipped


def test_a_hundred_megapixels_are_read_quietly(tmp_path):
    Image.new("1", (12_500, 8_000), 1).save(tmp_path / "huge.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "huge.png").size == (12_500, 8_000)
    header = bytearray((tmp_path / "huge.png").read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(OSError, match="pixels"):
        read_image(tmp_path / "bomb.png")


def test_an_animation_gives_its_first_picture(tmp_path):
    first, second = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "blue")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "moving.gif").getpixel((3, 3)) == (255, 0, 0)


def test_count_spreads_over_the_folder(folder):
    source = open_source(str(folder), count=3)
    assert [source.name(i) for i in range(3)] == ["a.png", "grey.jpg", "turned.jpg"]


def test_a_table_of_paths(folder):
    pd.DataFrame({"path": ["a.png", "deeper/alpha.PNG"], "label": [0, 1]}).to_csv(folder / "list.csv", index=False)
    source = open_source(str(folder / "list.csv"))
    assert [source.name(i) for i in range(len(source))] == ["a.png", "deeper/alpha.PNG"]
    assert source.image(1).size == (30, 20)
    pd.DataFrame({"words": ["a.png"]}).to_parquet(folder / "wrong.parquet")
    with pytest.raises(SummandError, match=r"column called 'path' .*; it has words. Name it: .*wrong.parquet#COLUMN"):
        open_source(str(folder / "wrong.parquet"))


def test_a_split_of_a_table(folder):
    table, frame = folder / "list.csv", pd.DataFrame({"path": ["a.png", "b.gif", "one.bmp"], "split": [0, 2, 0]})
    for values in (frame["split"], ["train", "test", "train"]):
        frame.assign(split=values).to_csv(table, index=False)
        source = open_source(str(table), split="train")
        assert [source.name(i) for i in range(len(source))] == ["a.png", "one.bmp"]
        assert len(open_source(str(table))) == 3
        assert len(open_source(str(table), 1, "train")) == 1
        with pytest.raises(SummandError, match=rf"no rows of split 'val' \(there are {values[0]}, {values[1]}\)"):
            open_source(str(table), split="val")
    frame.drop(columns="split").to_csv(table, index=False)
    assert len(open_source(str(table), split="train")) == 3


@pytest.mark.parametrize(("suffix", "said"), [("csv", "line 3, 4"), ("parquet", "row 2, 3")])
def test_a_row_without_a_path_is_named(folder, suffix, said):
    table, frame = folder / f"list.{suffix}", pd.DataFrame({"path": ["a.png", None, " "], "label": [0, 1, 2]})
    frame.to_csv(table, index=False) if suffix == "csv" else frame.to_parquet(table)
    with pytest.raises(SummandError, match=rf"list\.{suffix}: no value in column 'path' of {said}; fill it in or drop"):
        open_source(str(table))


def test_scenes_are_the_same_alone_and_in_batches():
    source = open_source("scenes:count=20,seed=3")
    stacked = np.concatenate([foreign(batch.images) for batch in batches(source, 7, [])])
    assert len(stacked) == 20
    np.testing.assert_array_equal(stacked[13], np.asarray(source.image(13)))
    assert list(source.attributes().columns)[:2] == ["shape", "colour"]
    assert len(open_source("scenes:seed=3", count=5)) == 5
    np.testing.assert_array_equal(stacked[:5], foreign(open_source("scenes:seed=3", count=5)).array(0, 5))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/no/such/folder", "no image source"),
        ("scenes:colour=red", "colour"),
        ("hf:/no/such/data-set", "cannot be loaded|needs the package datasets: pip install .summand-clip"),
        ("wds:/no/such-{00..03}.tar", "there is no tar /no/such-00.tar"),
        ("nowhere://place", "no address that fsspec knows"),
    ],
)
def test_nothing_to_read_is_an_error(source, words):
    with pytest.raises(SummandError, match=words):
        open_source(source)


def test_a_folder_without_images_and_a_single_file_are_errors(folder):
    (folder / "deep").mkdir()
    with pytest.raises(SummandError, match="no images in"):
        open_source(str(folder / "deep"))
    with pytest.raises(SummandError, match="is a file"):
        open_source(str(folder / "a.png"))
    with pytest.raises(SummandError, match="at least 1"):
        open_source(str(folder), count=0)


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"path": "a.png", " path ": "b.png"}\n')
    with pytest.raises(SummandError, match="several columns called 'path'"):
        open_source(str(tmp_path / "a.jsonl"))


def test_a_parquet_of_texts_that_are_no_utf8_is_refused(tmp_path):
    """Parquet does not look at them when it reads, and pandas decodes them where they are used."""
    buffers = pa.array([b"a.png", b"b\xffc.png"], pa.binary()).buffers()
    texts = pa.StringArray.from_buffers(2, buffers[1], buffers[2], buffers[0])
    pq.write_table(pa.table({"path": texts, "label": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(SummandError, match=r"a\.parquet could not be read as a table"):
        open_source(str(tmp_path / "a.parquet"))
