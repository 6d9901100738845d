from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand.data import open_source
from summand.studies.retrieve import index as retrieval
from summand.studies.retrieve.index import Index, Space, agreement, build_index, property_axes, property_units
from summand.survey import Group
from summand.survey.units import effects_of
from summand.text.pools import pool
from summand.unit import Unit
from tests.commands import command
from tests.studies.results import again, assert_page, assert_whole, close, same

pytestmark = pytest.mark.slow


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
    moments = summand.survey(vit, source, units="heads", held_out=0, top=0).moments("heads")
    units = property_units(vit, moments, pool("scenes"), "colours")
    assert len(units) >= 2
    truth = source.attributes()["colour"].to_numpy()
    by_heads = build_index(vit, source, Space(units), folder=tmp_path)
    file = (tmp_path / "features.npy").stat()
    assert 512 * file.st_blocks >= file.st_size  # the disk has room for all of it before it is written
    assert (tmp_path / "features.npy").is_file()
    everything = build_index(vit, source, Space())
    queries = range(0, 160, 4)
    heads, whole = agreement(by_heads, queries, truth, k=5), agreement(everything, queries, truth, k=5)
    assert heads > whole + 0.15
    with pytest.raises(summand.SummandError, match="did you mean 'colour'"):
        property_units(vit, moments, pool("scenes"), "colur")


def test_bad_input(vit, unchecked):
    pixels = vit.preprocess(summand.scenes.sample(1, seed=2).images)
    with pytest.raises(summand.SummandError, match=r"no unit 9\.1"):
        Space((Unit(Group("heads"), (9, 1)),)).features(vit, pixels)
    index = Index(np.zeros((5, 3), np.float32), np.arange(5), ())
    with pytest.raises(summand.SummandError, match="at least 1"):
        index.search(torch.zeros(1, 3), 0)
    with pytest.raises(summand.SummandError, match="another unit or model"):
        index.search(torch.zeros(1, 4), 1)


@pytest.fixture
def query(tmp_path, monkeypatch, unchecked) -> str:
    Image.fromarray(summand.scenes.sample(3, seed=31).images[2]).save(tmp_path / "q.png")
    monkeypatch.chdir(tmp_path)
    return "q.png"


def test_the_command_line(query, tmp_path):
    def run(*arguments: str):
        return command("retrieve", query, *arguments)

    where = ("scenes:count=40,seed=31", "--units", "5.0", "--top", "4")
    result = run(*where, "--metric", "cosine", "--json", "--out", "retrieve.png").json
    assert (result["rows"][0]["index"], result["searched"]) == (2, 40)
    assert result["rows"][0]["score"] == pytest.approx(1, abs=1e-4)
    assert Image.open(tmp_path / "retrieve.png").size[0] > 200
    default = run(*where, "--json").json
    assert default["rows"] == result["rows"]  # the metric of README's numbers, in the shell as in Python
    assert default["options"]["metric"] == "cosine"
    assert (default["units"], default["data"], default["query"]) == (["5.0"], "scenes:count=40,seed=31", query)
    assert inspect.signature(agreement).parameters["metric"].default == "cosine"
    assert inspect.signature(Index.search).parameters["metric"].default == "cosine"
    assert inspect.signature(summand.retrieve).parameters["metric"].default == "cosine"
    for wrong, said in (
        (("--units", "5.0", "--property", "colour"), "--units must be left out beside --property 'colour'"),
        (("--metric", "best"), '"cosine", "inner"'),
        (("--out", "q.png/sheet.docx"), "q.png"),
        (("--units", "5-0"), "a unit is called head LAYER.HEAD"),
        (("--top", "0"), "--top must be at least 1"),
        (("--property", "colour", "--layers", "5"), "--layers is of heads: say --along 'heads' beside it"),
        (
            ("--property", "colour", "--along", "heads", "--layers", "6"),
            "--layers must be layers of scenes-vit, 0 to 5",
        ),
    ):
        found = run("scenes:count=9", *wrong)
        assert (found.code, found.out) == (2, ""), found
        assert said in " ".join(found.error.split())
    assert command("retrieve", "none.png", "scenes:count=9").code == 2


def test_python_says_what_the_command_says(vit, query, tmp_path):
    some = ("scenes:count=40,seed=31", "--units", "5.0,3:7", "--top", "3", "--metric", "inner", "--uncentred")
    record = command("retrieve", query, *some, "--json").json
    result = summand.retrieve(
        vit, query, "scenes:count=40,seed=31", units="5.0,3:7", top=3, metric="inner", uncentred=True
    )
    same(record, result)
    assert close(again("retrieve", record, tmp_path), record)
    pixels = vit.preprocess(np.stack([np.array(Image.open(query)), *summand.scenes.sample(40, seed=31).images]))
    heads = vit.decompose(pixels).heads()[:, 5, 0].double()
    neurons = vit.second_order(pixels, 3).vectors()[:, 7].double()
    scores = (heads @ heads[0] + neurons @ neurons[0])[1:]  # inner products, no mean taken away
    assert result.rows["index"].tolist() == scores.topk(3).indices.tolist()
    assert result.rows["score"].to_numpy() == pytest.approx(scores.topk(3).values.numpy(), rel=1e-3)
    opened = summand.retrieve(vit, Image.open(query), open_source("scenes:count=40,seed=31"), options=result.options)
    assert opened.rows.equals(result.rows)
    assert_whole(result)
    assert_whole(result, 60)
    assert_page(result)


def test_a_property_is_that_of_labelled_heads(vit, query, unchecked):
    source = open_source("scenes:count=160,seed=31")
    found = summand.retrieve(vit, query, source, property="colour", along="heads", layers="4-5", top=2)
    moments = summand.survey(vit, source, units="heads", held_out=0, top=0).moments("heads")
    units = property_units(vit, moments, pool("scenes"), "colour", [4, 5])
    assert found.units == [unit.name for unit in units]
    assert {name.split(".")[0] for name in found.units} <= {"4", "5"}
    assert found.title == f"nearest by colour: heads {', '.join(found.units)}"


def test_a_property_is_found_along_its_texts(vit, source, query, tmp_path, unchecked):
    """The whole along the differences of the texts: no worse than the heads of the property; nothing else is kept."""
    moments = summand.survey(vit, source, units="heads", held_out=0, top=0).moments("heads")
    everything, queries, known = build_index(vit, source, Space()), range(0, 160, 4), source.attributes()
    for name in ("colour", "place", "count"):
        axes = property_axes(vit, pool("scenes"), name)
        assert torch.allclose(axes @ axes.T, torch.eye(len(axes)).double(), atol=1e-6)
        along = build_index(vit, source, Space(axes=axes))
        heads = build_index(vit, source, Space(property_units(vit, moments, pool("scenes"), name)))
        truth, shape = known[name].to_numpy(), known["shape"].to_numpy()
        share = agreement(along, queries, truth, k=5)
        assert share > agreement(everything, queries, truth, k=5) + 0.15
        assert share >= agreement(heads, queries, truth, k=5) - 0.02
        assert agreement(along, queries, shape, k=5) < agreement(everything, queries, shape, k=5)
    found = summand.retrieve(vit, query, source, property="colours", top=5)
    assert (found.units, found.axes) == ([], len(property_axes(vit, pool("scenes"), "colour")))
    assert found.title == f"nearest by colours: along its texts ({found.axes} axes)"
    colours = [row["colour"] for row in found.rows["attributes"]]
    assert colours.count(colours[0]) >= 4
    whole = vit.encode_image(vit.preprocess(np.stack([np.array(Image.open(query))])))
    features = torch.nn.functional.normalize(whole, dim=1) @ property_axes(vit, pool("scenes"), "colour").T.to(whole)
    again = build_index(vit, source, Space(axes=property_axes(vit, pool("scenes"), "colour")))
    assert again.search(features, 5)[0][0].tolist() == found.rows["index"].tolist()
    with pytest.raises(summand.SummandError, match="no texts of 'colur', did you mean 'colour'"):
        summand.retrieve(vit, query, source, property="colur")


def test_a_table_of_texts_names_its_own_properties(vit, source, query, tmp_path, unchecked):
    (tmp_path / "own.csv").write_text("text,property\nthe sea,water\na meadow,water\na red star,\n")
    found = summand.retrieve(vit, query, source, property="water", pool=str(tmp_path / "own.csv"), top=3)
    axis = vit.encode_text(["the sea", "a meadow"]).double()
    axis = torch.nn.functional.normalize(axis[:1] - axis[1:], dim=1)
    own = property_axes(vit, pool(tmp_path / "own.csv"), "water")
    assert torch.allclose((own @ axis.T).abs(), torch.ones(1, 1).double(), atol=1e-5)
    assert found.axes == 1
    with pytest.raises(summand.SummandError, match=r"no texts of 'place'.*\(there are: water\)"):
        summand.retrieve(vit, query, source, property="place", pool=str(tmp_path / "own.csv"))


def test_long_names_of_images_wrap_and_scores_stay(vit, query, tmp_path):
    folder = tmp_path / "a-folder-of-pictures-with-a-name-that-no-terminal-holds" / "and-one-more-below-it"
    folder.mkdir(parents=True)
    for i, image in enumerate(summand.scenes.sample(4, seed=31).images):
        Image.fromarray(image).save(folder / f"a-long-name-of-a-picture-{i}.png")
    (folder / "broken.png").write_bytes(b"no")
    found = summand.retrieve(vit, query, str(tmp_path), top=4)
    assert_whole(found)
    assert any("broken.png" in note for note in found.notes)
    assert [item["name"] for item in found.skipped] == [str(folder.relative_to(tmp_path) / "broken.png")]
