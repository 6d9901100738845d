"""Maps of one picture and of many, by every method, in the coordinates of the pictures they are of."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image
from rich.console import Console
from torch.nn import functional as F

import summand
from summand import SummandError
from summand.border import foreign
from summand.maps.baselines import baseline_maps
from summand.maps.contrast import default_contrast
from summand.maps.crop import box_of
from summand.maps.heatmap import Heatmap, Original
from summand.maps.methods import applies, names
from summand.maps.options import HeatmapOptions
from summand.report.terminal import drawn
from summand.studies.heatmap.result import Heatmaps
from tests.border import open_clip
from tests.commands import command
from tests.studies.results import close
from tests.tiny import clip

TEXTS = ["a star", "a red ring"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return summand.scenes.sample(3, seed=5).images


@pytest.fixture
def folder(tmp_path, images):
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name, image in zip(("b", "c", "deep/b"), images, strict=True):
        Image.fromarray(image).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def test_many_pictures_are_each_as_alone(vit, folder, images):
    alone = [summand.heatmap(vit, image, TEXTS) for image in images]
    forms = (list(images), images, [Image.fromarray(image) for image in images], str(folder), folder)
    for form in (*forms, sorted(folder.rglob("*.png"))):
        found = summand.heatmap(vit, form, TEXTS, batch_size=2)
        assert isinstance(found, Heatmaps)
        for one, own in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.grid, own.grid, atol=1e-6)
            assert one.similarity == pytest.approx(own.similarity, abs=1e-6)
    assert list(summand.heatmap(vit, str(folder), TEXTS).rows["image"]) == [
        *("b.png", "b.png", "c.png", "c.png"), *("deep/b.png", "deep/b.png")
    ]  # fmt: skip
    assert len(summand.heatmap(vit, list(images), TEXTS, count=2)) == 2
    with pytest.raises(SummandError, match="not pixels"):
        summand.heatmap(vit, vit.preprocess(images), TEXTS)
    with pytest.raises(SummandError, match="no images in this list"):
        summand.heatmap(vit, [], TEXTS)
    (folder / "a.png").write_text("no picture")
    spoilt = summand.heatmap(vit, folder, TEXTS)
    assert len(spoilt) == 3
    assert "a.png: not an image" in foreign(spoilt).notes[0]


@pytest.mark.parametrize("windows", [None, 1])
def test_the_similarity_is_the_models_own(vit, images, windows):
    found = summand.heatmap(vit, images[0], TEXTS, windows=windows)
    image = F.normalize(vit.encode_image(vit.preprocess(images[:1])), dim=1)
    cosines = (image @ vit.encode_text(TEXTS).T)[0]
    assert found.similarity == pytest.approx(cosines.tolist(), abs=1e-5)
    assert list(found.rows["similarity"]) == list(found.similarity)
    assert "cosine" in found.figure().axes[1].get_title()
    versus = summand.heatmap(vit, images[0], TEXTS[0], versus=TEXTS[1])
    assert versus.similarity[0] == pytest.approx(float(cosines[0] - cosines[1]), abs=1e-5)
    neuron = summand.heatmap(vit, images[0], neuron="4:120")
    assert neuron.rows["similarity"].isna().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_every_method_that_segment_has(vit, resnet, images, kind, name):
    model = {"vit": vit, "resnet": resnet}[kind]
    if applies(model, name) is not None:
        with pytest.raises(SummandError, match="does not apply"):
            summand.heatmap(model, images[0], TEXTS, method=name)
        return
    options = {"reference": "scenes:count=24"} if name in ("neurons", "neurons-both") else {}
    found = summand.heatmap(model, images[0], TEXTS, method=name, contrast=["the sea"], **options)
    assert found.grid.shape == (2, *model.tower.grid)
    x = model.preprocess(images[:1])
    along = model.encode_text(TEXTS) - model.encode_text("the sea")
    if name in ("decomposition", "raw-attention", "gradcam", "legrad", "grad-eclip", "sclip"):
        treated = {"legrad": {"first_layer": -2}, "gradcam": {"features": "attention"}, "sclip": {"mlp": False}}
        given_ = treated.get(name, {}) if kind == "vit" else {}
        if name == "decomposition":
            expected = model.decompose(x).tokens_toward(along)[:, model.tower.prefix :].transpose(1, 2)
        else:
            expected = baseline_maps(model, x, along, name, **given_)
        np.testing.assert_allclose(found.grid, expected[0].reshape(found.grid.shape), atol=1e-5)
    if name != "decomposition":
        assert "relevance" in found.quantity


def test_texts_of_a_method_are_plain_unless_it_takes_contrasts(vit, images):
    x = vit.preprocess(images[:1])
    plain, less = vit.encode_text(TEXTS), vit.encode_text(default_contrast(vit)).mean(dim=0)
    for name, along, options in (("legrad", plain, {"first_layer": -2}), ("grad-eclip", plain - less, {})):
        found = summand.heatmap(vit, images[0], TEXTS, method=name).grid
        np.testing.assert_allclose(found, baseline_maps(vit, x, along, name, **options)[0], atol=1e-5)


def test_contrasts_are_texts_pools_or_files(vit, images, tmp_path):
    (tmp_path / "texts.txt").write_text("the sea\na star\n")
    texts = summand.heatmap(vit, images[0], "a ring", contrast=["the sea", "a star"]).grid
    file = summand.heatmap(vit, images[0], "a ring", contrast=str(tmp_path / "texts.txt")).grid
    np.testing.assert_array_equal(texts, file)
    pool = summand.heatmap(vit, images[0], "a ring", contrast="scenes").grid
    assert not np.allclose(pool, texts)
    one = summand.heatmap(vit, images[0], "a ring", contrast="the sea").grid
    np.testing.assert_array_equal(one, summand.heatmap(vit, images[0], "a ring", versus="the sea").grid)
    with pytest.raises(SummandError, match="did you mean 'scenes'"):
        summand.heatmap(vit, images[0], "a ring", contrast="scene")


CLIP = clip()
SIDE = 32


def wrapped(mode: str) -> summand.Model:
    preprocess = open_clip.image_transform(SIDE, is_train=False, resize_mode=mode)
    return summand.wrap(CLIP, preprocess=preprocess, tokenizer=lambda texts: torch.zeros(len(texts), 16).long())


MODELS = {mode: wrapped(mode) for mode in ("shortest", "squash", "longest")}


@given(st.integers(20, 400), st.integers(20, 400), st.sampled_from(sorted(MODELS)))
def test_the_box_is_what_preprocessing_cuts_out(height, width, mode):
    """Against torchvision's and open_clip's own rules, written out."""
    if mode == "squash":
        expected = (0, 0, width, height)
    elif mode == "shortest":
        short = min(height, width)
        rows, columns = int(SIDE * height / short), int(SIDE * width / short)
        top, left = round((rows - SIDE) / 2), round((columns - SIDE) / 2)
        expected = (left * width / columns, top * height / rows,
                    (left + SIDE) * width / columns, (top + SIDE) * height / rows)  # fmt: skip
    else:
        assume(min(height, width) * SIDE >= 8 * max(height, width))  # a few rows are all edge to a resizing filter
        ratio = max(height, width) / SIDE
        rows, columns = round(height / ratio), round(width / ratio)
        top, left = (SIDE - rows) // 2, (SIDE - columns) // 2
        if (SIDE - rows) % 2 or (SIDE - columns) % 2:
            return  # which side has the odd pixel is open_clip's affair
        expected = (-left * width / columns, -top * height / rows,
                    (SIDE - left) * width / columns, (SIDE - top) * height / rows)  # fmt: skip
    found = box_of(MODELS[mode], (height, width))
    assert found == pytest.approx(expected, abs=0.15 * max(height, width) / SIDE + 0.3)


def test_preprocessing_that_bends_has_no_box(vit, images):
    plain = MODELS["squash"]._preprocess

    def swirled(image):
        array = np.asarray(image)
        return plain(Image.fromarray(np.roll(array, array.shape[1] // 2, axis=1)))

    model = summand.wrap(CLIP, preprocess=swirled, tokenizer=lambda texts: torch.zeros(len(texts), 16).long())
    assert box_of(model, (50, 60)) is None
    found = summand.heatmap(model, Image.new("RGB", (60, 50)), neuron="0:3")
    with pytest.raises(SummandError, match="does more than cut and resize"):
        found.on_original()
    assert json.loads(found.to_json())["box"] is None
    assert found.arrays().keys() == {"grid", "texts", "similarity"}
    found.figure()


def plane(box, size, options=None) -> Heatmap:
    """A map that is x + 2 y in the original picture, as a model sees it that cuts out `box` and makes 80 × 80 of it."""
    left, top, right, bottom = box
    at = (np.arange(80) + 0.5) / 80
    x, y = left + at * (right - left), top + at * (bottom - top)
    grid = (x[None] + 2 * y[:, None])[None].astype(np.float32)
    picture = np.full((80, 80, 3), 90, np.uint8)
    original = Original(size, lambda: Image.new("RGB", size[::-1], (120, 60, 30)), lambda: box)
    return Heatmap(("x",), grid, picture, similarity=(0.25,), options=options or HeatmapOptions(), original=original)


def test_a_map_lies_where_the_model_saw_it():
    found = plane((30.0, 0.0, 130.0, 100.0), (100, 160)).on_original()[0]
    x, y = np.arange(160) + 0.5, np.arange(100)[:, None] + 0.5
    seen = np.broadcast_to((x > 30) & (x < 130), found.shape)
    assert np.array_equal(np.isnan(found), ~seen)
    inner = np.s_[2:-2, 32:128]
    np.testing.assert_allclose(found[inner], np.broadcast_to(x + 2 * y, found.shape)[inner], atol=0.05)
    beyond = plane((-20.0, -5.0, 180.0, 105.0), (100, 160)).on_original()[0]
    assert np.isfinite(beyond).all()
    np.testing.assert_allclose(beyond, np.broadcast_to(x + 2 * y, found.shape), atol=0.05)


def test_the_largest_cell_is_found_in_the_original(vit):
    """A scene right of a blank: the model that sees it alone, and windows over both, point to the same place."""
    scene = summand.scenes.describe("one red star in the snow").images[0]
    wide = np.concatenate([np.full_like(scene, 255), scene], axis=1)
    found = summand.heatmap(vit, wide, "a red star", windows=1)
    assert found.place()["box"] == (0.0, 0.0, 128.0, 64.0)
    x, y = found.rows.loc[0, ["x", "y"]]
    assert x > 64
    assert found.grid[0][int(y), int(x)] == found.grid[0].max()


def test_an_overlay_is_the_picture_and_the_map_alone(tmp_path):
    box, size = (30.0, 0.0, 130.0, 100.0), (100, 160)
    plane(box, size, HeatmapOptions(overlay=True, opacity=1.0, colours="magma")).save(tmp_path / "a.png")
    drawn_ = np.asarray(Image.open(tmp_path / "a.png"))
    assert drawn_.shape == (100, 160, 3)
    grey = round(255 * ((120 + 60 + 30) / 3 + 60) / 360)
    assert (drawn_[:, :30] == grey).all()
    limit = plane(box, size).on_original()
    share = (limit[0, 50, 80] / np.nanmax(limit) + 1) / 2
    np.testing.assert_allclose(drawn_[50, 80] / 255, colormaps["magma"](float(share))[:3], atol=0.02)
    plane(box, size, HeatmapOptions(overlay=True, opacity=0.0)).save(tmp_path / "b.png")
    assert (np.asarray(Image.open(tmp_path / "b.png")) == grey).all()
    plane(box, size, HeatmapOptions(overlay=True)).save(tmp_path / "c.pdf")
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")


def test_what_notebooks_show_is_short(vit, images):
    found = summand.heatmap(vit, images[0], TEXTS)
    assert repr(found) == "<Heatmap: 'a star', 'a red ring'; 8 × 8>"
    assert found._repr_png_().startswith(b"\x89PNG")
    assert "a red ring" in found._repr_html_()
    many = summand.heatmap(vit, images[:2], TEXTS)
    assert len(repr(many)) < 100
    assert "<img" in many._repr_html_()
    assert len(many.figure().axes) == 2 * 3 + 1


@pytest.mark.slow
def test_the_command_is_the_verb(vit, folder, images, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    given_ = ("heatmap", folder / "b.png", *TEXTS, "--json", "--array", "maps.npz", "--out", "one.png")
    result = command(*given_).json
    python = summand.heatmap(vit, folder / "b.png", TEXTS)
    assert close(result["grid"], python.grid.tolist())
    assert close([{**row, "image": "b.png"} for row in python.record()["rows"]], result["rows"])
    assert result["pictures"] == [{"image": "b.png", "width": 64, "height": 64, "box": [0, 0, 64, 64],
                                   "grid_box": [0, 0, 64, 64]}]  # fmt: skip
    assert python.save("folder")["result"].exists()
    assert json.loads((tmp_path / "folder" / "result.json").read_text())["grid"] == python.grid.tolist()
    with np.load("maps.npz") as arrays:
        np.testing.assert_array_equal(arrays["grid"], np.array(result["grid"], arrays["grid"].dtype))
        assert arrays["maps"].shape == (2, 64, 64)
        np.testing.assert_array_equal(arrays["box"], [0, 0, 64, 64])
        assert list(arrays["texts"]) == TEXTS
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert {**command("heatmap", "--config", "result.json", "--json").json, "files": result["files"]} == result
    table = command("heatmap", folder / "b.png", *TEXTS)
    assert f"{python.similarity[0]:+.3f}".replace("-", "−") in table.out
    assert (tmp_path / "heatmap.png").is_file()


def test_every_picture_has_a_file_of_its_own_in_the_folder(vit, images, tmp_path):
    names_ = ["/far/away/x.png", "../x.png", "deep/x.png", "scene 3", "", "x y.jpeg"]
    one = summand.heatmap(vit, images[0], "a star")
    Heatmaps([replace(one, name=name) for name in names_], one.options).save_maps(tmp_path / "out")
    found = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npz")]
    assert sorted(found) == sorted(f"out/{name}.npz" for name in ("x", "x 1", "deep/x", "scene 3", "picture 4", "x y"))


@pytest.mark.slow
def test_a_folder_gets_a_picture_each(folder, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    found = command("heatmap", folder, "a star", "--out", "out", "--array", "arrays", "--overlay", "--json").json
    assert [len(found["rows"]), len(found["grid"])] == [3, 3]
    found_ = [str(one.relative_to(tmp_path / "out" / "maps")) for one in (tmp_path / "out" / "maps").rglob("*.png")]
    assert sorted(found_) == ["b.png", "c.png", "deep/b.png"]
    assert Image.open(tmp_path / "out" / "maps" / "b.png").size == (64, 64)
    assert sorted(path.name for path in (tmp_path / "arrays").rglob("*.npz")) == ["b.npz", "b.npz", "c.npz"]
    assert (tmp_path / "out" / "figure.png").is_file()
    head = command("heatmap", folder, "--head", "5.3", "--reference", "scenes:count=30", "--json", "--count", "2").json
    assert len(head["rows"]) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.png", "a star"), "cannot read the image none.png"),
        (("b.png",), "expected at least one text"),
        (("b.png", "a star", "--array", "maps.npy"), "written as .npz"),
        (("b.png", "a star", "--opacity", "2"), "from 0 to 1"),
        (("b.png", "a star", "--colours", "magna"), "did you mean 'magma'"),
        (("b.png", "a star", "--method", "chefr"), "did you mean 'chefer'"),
        (("b.png", "a star", "--method", "chefer", "--head", "1.1"), "one part at a time"),
        (("b.png", "a star", "--pool", "general"), "labels a head"),
        (("b.png", "a star", "--reference", "scenes"), "--method"),
    ],
)
def test_mistakes_are_named(folder, monkeypatch, arguments, said, unchecked):
    monkeypatch.chdir(folder)
    found = command("heatmap", *arguments)
    assert (found.code, found.out) == (2, "")
    assert said in found.error.replace("\n", " "), found.error


def test_at_80_columns_numbers_and_places_are_whole(vit, images):
    names_ = [f"a-picture-with-a-name-of-some-length-{i}.png" for i in range(2)]
    long = "a red star " * 8
    found = summand.heatmap(vit, list(images[:2]), [long])
    named = [replace(one, name=name) for one, name in zip(found, names_, strict=True)]
    found = Heatmaps(named, found.options)
    console = Console(width=80, file=io.StringIO())
    console.print(drawn(found.tables()[0]))
    text = foreign(console.file).getvalue()
    assert max(map(len, text.split("\n"))) <= 80
    for row in found.rows.to_dict("records"):
        for number in (f"{row['similarity']:+.3f}", f"{row['sum']:+.3f}", f"{row['max']:+.4f}"):
            assert number.replace("-", "−") in text
        assert f"{row['x']:.0f}, {row['y']:.0f}" in text
