from __future__ import annotations

import inspect
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand.data import open_source
from summand.studies import retrieval
from summand.studies.retrieval import Index, Space, agreement, build_index, property_units
from summand.survey import Group, collect
from summand.survey.units import effects_of
from summand.text.pools import pool
from summand.unit import Unit


@pytest.fixture(scope="module")
def source():
    return open_source("scenes:count=160,seed=31")


def test_inner_products_of_features_are_those_of_the_effects(vit, resnet):
    scenes = summand.scenes.sample(4, seed=2).images
    cases = (
        (vit, (Unit(Group("heads"), (5, 0)), Unit(Group("heads"), (3, 2)), Unit(Group("neurons", 3), (7,)))),
        (resnet, (Unit(Group("pairs"), (7, 3)),)),
    )
    for model, units in cases:
        pixels = model.preprocess(scenes)
        found = Space(units).features(model, pixels).double()
        vectors = torch.cat(
            [effects_of([unit.group], model, pixels)[0][unit.group].vectors()[:, *unit.index] for unit in units],
            dim=1,
        ).double()
        assert torch.allclose(found @ found.T, vectors @ vectors.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", ["inner", "cosine"])
def test_blocks_find_what_a_full_sort_finds(monkeypatch, rng, metric):
    features = rng.normal(size=(57, 4)).astype(np.float32)
    images = np.arange(57) * 2
    monkeypatch.setattr(retrieval, "_BLOCK", 40)  # ten images a block
    index = Index(features, images, ())
    queries = torch.from_numpy(rng.normal(size=(3, 4)))
    found, scores = index.search(queries, 5, metric)
    centred, asked = features - features.mean(axis=0), queries.numpy() - features.mean(axis=0)
    truth = asked @ centred.T
    if metric == "cosine":
        truth = truth / np.linalg.norm(centred, axis=1) / np.linalg.norm(asked, axis=1, keepdims=True)
    for row in range(3):
        best = np.argsort(-truth[row])[:5]
        assert found[row].tolist() == images[best].tolist()
        assert scores[row] == pytest.approx(truth[row][best], rel=1e-4)
    raw, _ = index.search(queries, 57, "inner", centre=False)
    assert raw[0].tolist() == images[np.argsort(-(queries.numpy() @ features.T)[0])].tolist()


def test_heads_labelled_colour_find_the_colour(vit, source, tmp_path):
    passed = collect(vit, source, progress=False)
    units = property_units(vit, passed.moments, pool("scenes"), "colours")
    assert len(units) >= 2
    truth = source.attributes()["colour"].to_numpy()
    by_heads = build_index(vit, source, Space(units), folder=tmp_path)
    assert (tmp_path / "features.npy").is_file()
    everything = build_index(vit, source, Space())
    queries = range(0, 160, 4)
    heads, whole = agreement(by_heads, queries, truth, k=5), agreement(everything, queries, truth, k=5)
    assert heads > whole + 0.15
    with pytest.raises(summand.SummandError, match="did you mean 'colour'"):
        property_units(vit, passed.moments, pool("scenes"), "colur")


def test_bad_input(vit, unchecked):
    pixels = vit.preprocess(summand.scenes.sample(1, seed=2).images)
    with pytest.raises(summand.SummandError, match=r"no unit 9\.1"):
        Space((Unit(Group("heads"), (9, 1)),)).features(vit, pixels)
    index = Index(np.zeros((5, 3), np.float32), np.arange(5), ())
    with pytest.raises(summand.SummandError, match="at least 1"):
        index.search(torch.zeros(1, 3), 0)
    with pytest.raises(summand.SummandError, match="another unit or model"):
        index.search(torch.zeros(1, 4), 1)


def test_the_command_line(tmp_path, monkeypatch, capsys, unchecked):
    from summand.cli import main

    Image.fromarray(summand.scenes.sample(3, seed=31).images[2]).save(tmp_path / "q.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["summand", "retrieve", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code, *capsys.readouterr())

    code, out, _ = run(
        "q.png", "--in", "scenes:count=40,seed=31", "--head", "5.0", "-k", "4", "--metric", "cosine", "--json"
    )
    assert code == 0
    result = json.loads(out)
    assert (result["rows"][0]["index"], result["searched"]) == (2, 40)
    assert result["rows"][0]["score"] == pytest.approx(1, abs=1e-4)
    assert Image.open(tmp_path / "retrieve.png").size[0] > 200
    default = json.loads(run("q.png", "--in", "scenes:count=40,seed=31", "--head", "5.0", "-k", "4", "--json")[1])
    assert default["rows"] == result["rows"]  # the metric of README's numbers, in the shell as in Python
    assert default["options"]["metric"] == "cosine"
    assert inspect.signature(agreement).parameters["metric"].default == "cosine"
    assert inspect.signature(Index.search).parameters["metric"].default == "cosine"
    assert run("q.png", "--in", "scenes:count=9", "--head", "5.0", "--property", "colour")[0] == 2
    assert run("q.png", "--in", "scenes:count=9", "--metric", "best")[0] == 2
    assert run("q.png", "--in", "scenes:count=9", "--out", "sheet.docx")[0] == 2
    assert run("none.png", "--in", "scenes:count=9")[0] == 2
