from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand.data import open_source
from summand.studies.subconcepts.tops import inertia, tops_of_pairs
from tests.commands import command
from tests.studies.results import again, assert_page, assert_whole, close, same

pytestmark = pytest.mark.slow


def test_inertia_by_hand(rng):
    rows = rng.normal(size=(2, 5, 3))
    unit = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    expected = [sum(np.sum((e - some.mean(axis=0)) ** 2) for e in some) for some in unit]
    assert inertia(torch.from_numpy(rows)).numpy() == pytest.approx(expected)
    assert float(inertia(torch.ones(4, 3))) == pytest.approx(0, abs=1e-12)


def test_top_images_of_pairs_are_sub_concepts_of_their_neuron(resnet, unchecked):
    source = open_source("scenes:count=60,seed=46")
    found = tops_of_pairs(resnet, source, neurons=[5, 100], top=6)
    effects = resnet.pairs(resnet.preprocess(summand.scenes.sample(60, seed=46).images))
    vectors = effects.vectors().double()[:, [5, 100]]
    for sums, images in ((vectors, found.pair_images), (vectors.sum(dim=2), found.neuron_images)):
        norms = (sums - sums.mean(dim=0)).norm(dim=-1)
        assert torch.equal(norms.topk(6, dim=0).indices.movedim(0, -1).sort(dim=-1).values, images.sort(dim=-1).values)
    assert 0 <= found.narrower() <= 1
    assert found.pair_inertia.shape == (2, 16)
    assert 0 < found.chance < 6
    # A pair writes along one direction only; a neuron's is the first principal one of its top images.
    neurons, pairs = found.directions()
    for head in range(16):
        assert abs(float(torch.nn.functional.cosine_similarity(pairs[0, head], vectors[0, 0, head], dim=0))) > 0.999
    centred = vectors.sum(dim=2)[:, 0]
    centred = centred - centred.mean(dim=0)
    strongest = centred[centred.norm(dim=-1).topk(6).indices]
    assert abs(float(torch.linalg.svd(strongest).Vh[0] @ neurons[0])) > 0.999
    with pytest.raises(summand.SummandError, match="counted from 0"):
        tops_of_pairs(resnet, source, neurons=[9999])
    with pytest.raises(summand.SummandError, match="fewer than the 10"):
        tops_of_pairs(resnet, open_source("scenes:count=5"))


SOME = "scenes:count=30,seed=46"


@pytest.fixture
def here(tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_of_sub_concepts(here):
    def run(*arguments: str):
        return command("subconcepts", *arguments)

    some = (SOME, "--model", "scenes-rn", "--top", "5")
    result = run(*some, "--unit", "5", "--json", "--out", "subconcepts.png").json
    rows = result["rows"]
    assert rows[0]["unit"] == "5"
    assert sorted(row["unit"] for row in rows[1:]) == sorted(f"5x{head}" for head in range(16))
    inertias = [row["inertia"] for row in rows[1:]]
    assert inertias == sorted(inertias)
    assert all(len(row["images"]) == 5 and row["words"] for row in rows)
    assert Image.open(here / "subconcepts.png").size[0] > 300
    found = run(*some, "--out", "survey.png")
    assert found.code == 0
    assert f"See one with unit {found.out.split('│')[1].strip()}" in " ".join(found.out.split())
    assert Image.open(here / "survey.png").size[0] > 300
    for wrong, said in (
        (("scenes:count=4", "--model", "scenes-rn"), "fewer than --top 10; give more images"),
        (("scenes:count=20", "--model", "scenes-vit"), "this one is a VisionTransformer"),
        ((*some, "--unit", "512"), "counted from 0 to 511"),
        ((*some, "--unit", "9:5"), "--unit must be neurons in front of the pool"),
        ((SOME, "--top", "1"), "--top must be at least 2"),
    ):
        found = run(*wrong)
        assert (found.code, found.out) == (2, "")
        assert said in found.error


def test_the_usual_model_has_an_attention_pool(here):
    assert command("subconcepts", SOME, "5", "--json").json["model"] == "scenes-rn"


def test_python_says_what_the_command_says(resnet, here):
    record = command("subconcepts", SOME, "5,7x3", "--top", "4", "--drawn", "2", "--json").json
    result = summand.subconcepts(resnet, SOME, [5, 7], top=4, drawn=2)
    same(record, result)
    assert record["units"] == ["5", "7"]
    assert close(again("subconcepts", record, here), record)
    for made in (result, summand.subconcepts(resnet, open_source(SOME), top=3)):
        assert_whole(made)
        assert_whole(made, 60)
        assert_page(made)
    assert len(made.rows) == 512
    assert made.inertia["pairs"] == float(made.found.pair_inertia.median())


def test_the_sheet_shows_the_top_images_of_the_neuron_and_its_narrowest_pairs(resnet, unchecked):
    result = summand.subconcepts(resnet, SOME, 5, top=3, drawn=2)
    scenes = summand.scenes.sample(30, seed=46).images
    shown = [image.get_array() for axes in result.figure().axes for image in axes.get_images()]
    wanted = [scenes[index] for row in result.rows["indices"][:3] for index in row]
    assert len(shown) == 9
    assert all(np.array_equal(a, b) for a, b in zip(shown, wanted, strict=True))
