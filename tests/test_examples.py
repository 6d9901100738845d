"""The ten tasks of examples/, as somebody runs them who has read nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

import summand

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked")]
FILE = Path(__file__).parent.parent / "examples" / "ten_tasks.py"


@pytest.fixture(scope="module")
def tasks():
    spec = importlib.util.spec_from_file_location("ten_tasks", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    drawn, folder = summand.scenes.sample(60, seed=4), tmp_path_factory.mktemp("tasks") / "scenes"
    summand.scenes.write_folder(drawn, folder)
    return drawn, folder


def test_only_public_names_are_used():
    imported = [line.split()[1] for line in FILE.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert {name for name in imported if name.startswith("summand")} == {"summand"}
    assert "._" not in FILE.read_text()


def test_maps_over_a_folder_also_of_a_fine_tuned_checkpoint(tasks, scenes, vit, tmp_path):
    _, folder = scenes
    (tmp_path / "few").mkdir()
    for name in ("000000.png", "000001.png", "000002.png"):
        (tmp_path / "few" / name).write_bytes((folder / "images" / name).read_bytes())
    maps = tasks.maps_of_three_texts_over_a_folder(vit, tmp_path / "few", tmp_path / "maps")
    assert [one.grid.shape for one in maps] == [(3, 8, 8)] * 3
    assert len(list((tmp_path / "maps").rglob("*.png"))) >= 3
    torch.save({name: value * 0.5 for name, value in vit.clip.state_dict().items()}, tmp_path / "halved.pt")
    other = tasks.the_same_with_a_fine_tuned_checkpoint(tmp_path / "halved.pt", tmp_path / "few", tmp_path / "other")
    assert [one.name for one in other] == [one.name for one in maps]
    assert abs(other[0].grid - maps[0].grid).max() > 1e-3


def test_words_of_ones_own_and_a_survey_that_moves(tasks, scenes, vit, tmp_path):
    _, folder = scenes
    words = ["a red object", "a blue object", "a star", "a ring", "the sea", "a meadow"]
    table = tasks.all_heads_in_words_of_my_own(vit, folder / "images", words)
    assert len(table) == 48
    assert {text for texts in table["texts"] for text in texts} <= set(words)
    assert table["fits"].notna().all()
    assert set(table["verdict"]) <= {"proven", "not proven", "cannot be tested"}
    labels = tasks.survey_a_folder_and_label_it(vit, folder / "images", tmp_path / "survey")
    assert set(labels["kind"]) == {"head", "neuron"}
    (tmp_path / "survey").rename(tmp_path / "elsewhere")
    found = tasks.open_a_survey_elsewhere_and_query_it(tmp_path / "elsewhere")
    assert found["cosine"].abs().is_monotonic_decreasing
    assert {"unit", "texts", "evidence"} <= set(found.columns)


def test_heads_are_ablated_and_pictures_classified(tasks, scenes, vit):
    found = tasks.ablate_two_heads_and_classify(vit, "scenes:count=30,seed=4")
    assert found["label"].tolist() == scenes[0].attributes["shape"].tolist()[:30]
    assert (found["label"] == found["nothing"]).mean() > 0.8
    assert "heads 5.3 5.5" in found


def test_the_top_images_of_a_neuron(tasks, scenes, vit):
    images, figure = tasks.top_images_of_a_neuron(vit, scenes[1] / "images")
    assert images["x"].abs().is_monotonic_decreasing
    assert set(images["name"]) <= {path.name for path in (scenes[1] / "images").iterdir()}
    assert len(figure.axes) >= 8


def test_a_stream_drifts(tasks, vit):
    def stream(options: str):
        drawn = summand.scenes.parse_source(f"scenes:count=48,{options}").sample().images
        return [drawn[:24], drawn[24:]]

    alarms, report = tasks.drift_of_a_stream(vit, "scenes:count=60,seed=1", stream("seed=2,shift=place/sea/1.0"))
    assert (alarms > 0, report.alarm) == (True, True)


def test_masks_of_ones_own_are_scored(tasks, scenes, vit):
    files = sorted((scenes[1] / "images").iterdir())[:6]
    masks = [scenes[1] / "masks" / file.name for file in files]
    rows = tasks.segment_and_score_masks_of_my_own(vit, files, masks, ["background", "a shape"])
    assert rows["method"].tolist() == ["decomposition"]
    assert 0 < rows["mIoU"].iloc[0] <= 1


def test_groups_of_ones_own_are_repaired(tasks):
    drawn = summand.scenes.parse_source("scenes:count=90,seed=8").sample()
    model = summand.load("scenes-vit-tied")
    images = [Image.fromarray(image) for image in drawn.images]
    shapes, places = drawn.attributes["shape"].tolist(), drawn.attributes["place"].tolist()
    rows, embeddings = tasks.debias_groups_of_my_own_and_use_the_result(model, images, shapes, places)
    assert len(rows)
    before = model.encode_image(model.preprocess(images[0])[None])
    assert float((embeddings - before).abs().max()) > 1e-3
