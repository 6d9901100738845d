"""One object, in memory or in a folder: the same numbers, queried from anywhere."""

from __future__ import annotations

import html

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import summand
from summand.data import open_images
from summand.text.pools import pool

pytestmark = pytest.mark.slow

OPTIONS = {"units": "heads,neurons:4", "held_out": 0.4, "top": 5, "batch_size": 25, "progress": False}
UNITS = ("heads", "neurons.4")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return summand.scenes.sample(60, seed=2).images


@pytest.fixture(scope="module")
def in_memory(vit, pictures) -> summand.Survey:
    return summand.survey(vit, pictures, keep=2, **OPTIONS)


@pytest.fixture(scope="module")
def in_folder(vit, pictures, tmp_path_factory) -> summand.Survey:
    out = tmp_path_factory.mktemp("survey") / "run"
    summand.survey(vit, pictures, keep=2, out=out, **OPTIONS)
    found = summand.open(out)
    found.label(size=4, draws=5, progress=False)
    return found


def same(one: summand.Survey, other: summand.Survey) -> None:
    """To the digit."""
    assert one.units == other.units
    for group in one.groups:
        mine, theirs = one.dataset(group), other.dataset(group)
        assert set(mine.variables) == set(theirs.variables)
        for name in mine.variables:
            np.testing.assert_array_equal(mine[name].values, theirs[name].values, err_msg=str(name))
        assert torch.equal(one.rank_one(group).directions, other.rank_one(group).directions)
        assert torch.equal(one.thresholds(group), other.thresholds(group))
        assert torch.equal(one.held_out(group), other.held_out(group))
    assert torch.equal(one.embeddings, other.embeddings)
    assert torch.equal(one.centre, other.centre)
    assert one.images.equals(other.images)


def test_in_memory_and_in_a_folder_are_equal(in_memory, in_folder, tmp_path):
    same(in_memory, in_folder)
    saved = in_memory.save(tmp_path / "saved")
    same(in_memory, saved)
    same(in_memory, summand.open(tmp_path / "saved"))
    assert torch.equal(in_memory.kept.coefficients, saved.kept.coefficients)
    assert torch.equal(in_memory.kept.directions, saved.kept.directions)
    with pytest.raises(summand.SummandError, match="not empty"):
        in_memory.save(tmp_path / "saved")


def test_what_is_kept_is_of_every_image_in_order(in_memory, vit, pictures):
    parts = vit.decompose(vit.preprocess(pictures))
    assert in_memory.manifest.kept == (4, 5)
    expected = parts.head_effects().coefficients[:, 4:]
    torch.testing.assert_close(in_memory.kept.coefficients, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(in_memory.kept.directions, parts.head_effects().directions[4:])
    torch.testing.assert_close(in_memory.outputs, parts.total(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(in_memory.mlps, parts.mlps().sum(dim=1), atol=1e-4, rtol=1e-4)
    with pytest.raises(summand.SummandError, match="keep=4"):
        _ = summand.survey(vit, pictures[:8], units="heads", progress=False).kept


def test_centre_and_thresholds_are_those_of_the_formulas(in_memory, vit, pictures):
    used = ~in_memory.images["held_out"].to_numpy()
    outputs = F.normalize(vit.encode_image(vit.preprocess(pictures)).double(), dim=1)[used]
    torch.testing.assert_close(in_memory.centre, outputs.mean(dim=0), atol=1e-4, rtol=0)
    vectors = vit.second_order(vit.preprocess(pictures), 4).vectors().double()[used]
    norms = (vectors - vectors.mean(dim=0)).norm(dim=-1).sort(dim=0, descending=True).values
    # ⌈0.98 · 36⌉ = 36: no image lies above the 98th percentile, which is the largest norm
    torch.testing.assert_close(in_memory.thresholds("neurons.4"), norms[0], rtol=1e-3, atol=1e-6)


class Pictures(Dataset):
    def __init__(self, items, extra: bool) -> None:
        self.items, self.extra = items, extra

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return (self.items[index], 7) if self.extra else {"image": self.items[index]}


@pytest.mark.parametrize("form", ["pictures", "paths", "data set", "loader", "pixels", "folder", "mixed"])
def test_every_form_of_images_gives_the_same_survey(vit, pictures, tmp_path, form):
    """A folder of files, read by name, is what the others are compared with."""
    images = [Image.fromarray(picture) for picture in pictures[:12]]
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i:02d}.png")
    paths = [tmp_path / f"{i:02d}.png" for i in range(12)]
    given = {
        "pictures": images,
        "paths": [str(path) for path in paths],
        "data set": Pictures(images, extra=False),
        "loader": DataLoader(Pictures(images, extra=True), batch_size=5, shuffle=True, collate_fn=list),
        "pixels": DataLoader(Pictures([vit.preprocess(image) for image in images], extra=True), batch_size=4),
        "folder": tmp_path,
        "mixed": [*images[:4], *paths[4:8], *pictures[8:12]],
    }[form]
    options = {"units": "neurons:3", "held_out": 0.25, "top": 3, "progress": False}
    expected = summand.survey(vit, str(tmp_path), **options)
    found = summand.survey(vit, given, **options)
    for name in ("mean", "covariance", "top_image", "held_out", "direction_weight"):
        one, other = expected.dataset("neurons.3")[name].values, found.dataset("neurons.3")[name].values
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert torch.equal(expected.embeddings, found.embeddings)
    if form != "folder":
        assert found.source().image(7).size == (64, 64)


class Broken(Pictures):
    """A data set of the caller's, one of whose pictures cannot be read."""

    def __init__(self, items, at: int, error: Exception) -> None:
        super().__init__(items, extra=True)
        self.at, self.error = at, error

    def __getitem__(self, index: int):
        if index == self.at:
            raise self.error
        return super().__getitem__(index)


@pytest.mark.parametrize("form", ["pictures", "pixels", "arrays"])
@pytest.mark.parametrize(
    ("error", "said"), [(OSError("cut short"), "cut short"), (ValueError("of mine"), "ValueError: of mine")]
)
def test_one_bad_item_of_a_data_set_costs_that_image(vit, pictures, form, error, said):
    """Also of one whose pixels are preprocessed, which must not become pictures for it."""
    make = {
        "pictures": Image.fromarray,
        "pixels": lambda one: vit.preprocess(Image.fromarray(one)),
        "arrays": np.asarray,
    }[form]
    items = [make(picture) for picture in pictures[:12]]
    options = {"units": "neurons:3", "held_out": 0.0, "top": 3, "progress": False, "batch_size": 5}
    for at in (0, 7):
        found = summand.survey(vit, Broken(items, at, error), **options)
        expected = summand.survey(vit, Pictures(items[:at] + items[at + 1 :], extra=True), **options)
        assert found.skipped.to_dict("records") == [{"id": f"image {at}", "reason": said}]
        np.testing.assert_allclose(
            found.dataset("neurons.3")["mean"].values,
            expected.dataset("neurons.3")["mean"].values,
            rtol=1e-5,
            atol=1e-7,
        )
        numbers = np.delete(np.arange(12), at)
        assert (found.dataset("neurons.3")["top_image"] == numbers[expected.dataset("neurons.3")["top_image"]]).all()


def test_pictures_in_memory_that_are_none(vit, pictures, unchecked):
    images = [Image.fromarray(picture) for picture in pictures[:6]]
    odd = [*images, Image.new("F", (4, 4), float("nan")), np.zeros((4, 4, 5), np.uint8)]
    found = summand.survey(vit, odd, units="neurons:3", held_out=0.0, top=2, progress=False)
    assert found.skipped["id"].tolist() == ["image 6", "image 7"]
    assert "NaN" in found.skipped["reason"][0]
    pixels = [torch.zeros(3, 64, 64), torch.zeros(3, 32, 32)]
    with pytest.raises(summand.SummandError, match=r"image 1 is \[3, 32, 32\], and image 0 .* of one size"):
        summand.survey(vit, pixels, units="neurons:3", held_out=0.0, progress=False)
    with pytest.raises(summand.SummandError, match="ValueError: of mine"):
        summand.survey(vit, Always(images), units="neurons:3", held_out=0.0, progress=False)


class Always(Pictures):
    def __init__(self, items) -> None:
        super().__init__(items, extra=True)

    def __getitem__(self, index: int):
        raise ValueError("of mine")


def test_what_holds_no_images_is_refused(tmp_path, unchecked):
    for wrong in (3, {"a": 1}, [], iter([1])):
        with pytest.raises(summand.SummandError, match=r"expected images as|there are no images"):
            open_images(wrong)
    with pytest.raises(summand.SummandError, match=r"image 0 is an array of float64; expected images"):
        open_images([np.zeros((4, 4, 3))]).image(0)
    with pytest.raises(summand.SummandError, match="count must be at least 1"):
        open_images([np.zeros((4, 4, 3), dtype=np.uint8)], 0)
    assert len(open_images(np.zeros((4, 4, 3), dtype=np.uint8))) == 1
    assert len(open_images("scenes:count=9", 5)) == 5


def test_open_elsewhere_and_query(in_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = summand.open(in_folder.path)
    assert found.model.name == "scenes-vit"
    assert found.labels["unit"].tolist() == found.units
    with pytest.raises(summand.SummandError, match="were in memory"):
        found.source()


def test_find_by_text_image_and_direction(in_folder, vit, pictures):
    table = in_folder.find("a red object", top=5)
    centre = vit.encode_text(pool("scenes").texts).mean(dim=0)
    towards = F.normalize((vit.encode_text("a red object")[0] - centre).double(), dim=0)
    expected = {}
    for group in in_folder.groups:
        cosine = F.normalize(in_folder.rank_one(group).directions, dim=-1) @ towards
        for index in np.ndindex(*cosine.shape):
            expected[group.unit(index)] = float(cosine[index])
    best = sorted(expected, key=lambda unit: -abs(expected[unit]))[:5]
    assert table["unit"].tolist() == best
    np.testing.assert_allclose(table["cosine"], [expected[unit] for unit in best], atol=1e-6)
    labels = in_folder.labels.set_index("unit")
    assert [list(texts) for texts in table["texts"]] == [list(labels.loc[unit, "texts"]) for unit in best]
    assert "evidence" in table
    r = in_folder["4:100"].direction
    assert in_folder.find(r, top=1).loc[0, ["unit", "cosine"]].tolist() == ["4:100", pytest.approx(1, abs=1e-6)]
    by_image = in_folder.find(Image.fromarray(pictures[3]), top=1)
    own = F.normalize(vit.encode_image(vit.preprocess(pictures[3:4])).double(), dim=1)[0] - in_folder.centre
    unit = in_folder[by_image.loc[0, "unit"]]
    cosine = F.cosine_similarity(unit.direction, own, dim=0)
    assert by_image.loc[0, "cosine"] == pytest.approx(float(cosine), abs=1e-5)
    with pytest.raises(summand.SummandError, match="a text, an image or a direction"):
        in_folder.find(3)


def test_one_unit(in_folder, in_memory):
    unit, label = in_folder["4:100"], in_folder.labels.set_index("unit").loc["4:100"]
    assert (unit.kind, unit.name, unit.texts) == ("neuron", "4:100", list(label["texts"]))
    assert (unit.words, str(unit)) == (list(label["words"]), f"<neuron 4:100 of scenes-vit: {label['label']}>")
    assert unit.weights == pytest.approx(list(label["weights"]))
    assert unit.evidence == {"proven": True, "not proven": False}.get(label["verdict"])
    assert torch.equal(unit.direction, in_folder.rank_one("neurons.4").directions[100])
    assert torch.allclose(unit.offset, in_folder.moments("neurons.4").mean_vectors()[100])
    assert unit.threshold == float(in_folder.thresholds("neurons.4")[100])
    assert set(unit.images.index) == set(in_folder.top_images("neurons.4").ids[100].tolist())
    assert unit.images["x"].abs().is_monotonic_decreasing
    head = in_folder["5.3"]
    assert torch.equal(head.direction, in_folder.rank_one("heads").directions[5, 3])
    assert html.escape(in_folder.labels.set_index("unit").loc["5.3", "label"]) in head._repr_html_()
    assert "cannot be read again" in head._repr_html_()  # these images were in memory
    bare = in_memory["4:100"]
    assert (bare.words, bare.evidence) == ([], None)
    assert len([axis for axis in bare.show(count=3).axes if axis.images]) >= 3
    assert "data:image/png;base64," in bare._repr_html_()
    for name, words in (("4:512", "counted from 0 to 511"), ("2:1", "not neurons.2"), ("x", "is called")):
        with pytest.raises(summand.SummandError, match=words):
            in_folder[name]


def test_labels_in_memory_are_those_of_the_folder(in_memory, in_folder):
    table = in_memory.label(size=4, draws=5, progress=False)
    assert in_memory.labels.equals(table)
    for column in ("unit", "correlation", "random_limit", "evidence", "cosine"):
        assert table[column].equals(in_folder.labels[column]), column
    own = in_memory.label(["a red object", "a blue object", "a star", "a ring"], size=2, draws=3, progress=False)
    assert {text for texts in own["texts"] for text in texts} <= {"a red object", "a blue object", "a star", "a ring"}


def test_a_survey_finds_a_checkpoint_from_any_folder(vit, pictures, tmp_path, monkeypatch):
    clip = summand.load("scenes-vit").clip
    with torch.no_grad():
        clip.visual.proj.mul_(1.5)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    torch.save(clip.state_dict(), "tuned.pt")
    model = summand.load("scenes-vit", checkpoint="tuned.pt", precision="bf16")
    summand.survey(model, pictures[:8], units="heads", held_out=0, out="run", progress=False)
    monkeypatch.chdir("/")
    again = summand.open(tmp_path / "here" / "run").model
    assert again.dtype == torch.bfloat16
    x = vit.preprocess(pictures[:2]).bfloat16()
    assert torch.equal(again.encode_image(x), model.encode_image(x))


def test_a_wrapped_model_is_handed_over_again(pictures, tmp_path):
    base = summand.load("scenes-vit", random_init=True)
    model = summand.wrap(base.clip, preprocess=base._preprocess, tokenizer=base._tokenizer, name="mine")
    summand.survey(model, pictures[:8], units="heads", held_out=0, out=tmp_path / "run", progress=False)
    with pytest.raises(summand.SummandError, match=r"wrapped, mine.*model=model"):
        _ = summand.open(tmp_path / "run").model
    assert summand.open(tmp_path / "run", model=model).model is model
    with pytest.raises(summand.SummandError, match="no longer those"):
        summand.open(tmp_path / "run", model=summand.load("scenes-vit"))


def test_the_package_is_its_function():
    import summand.survey.engine

    assert callable(summand.survey)
    assert summand.survey.engine.passes.__module__ == "summand.survey.engine"
    assert "DataLoader" in summand.survey.__call__.__doc__
