"""`summand debias` as a user runs it, in the shell and in Python."""

from __future__ import annotations

import io
import json
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

import summand
from summand import SummandError
from summand.border import foreign
from summand.data.labelled import open_labelled
from summand.report.terminal import drawn
from summand.studies.debias.options import DebiasOptions, read_units
from tests.commands import command
from tests.studies.results import close

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked")]
TIED = ("--classes", "shape", "--groups", "place", "--model", "scenes-vit-tied")


@pytest.fixture(scope="module")
def tied():
    return summand.load("scenes-vit-tied")


def test_debias_says_what_was_removed_and_writes_what_load_applies(tmp_path, tied):
    train = "scenes:count=30,seed=4,tie=shape/place/0.95"
    found = command(
        "debias", "scenes:count=40,seed=3", *TIED, "--train", train, "--allow-empty", "--cover", "0.5", "--draws", "2",
        "--way", "units", "--out", tmp_path / "repaired", "--json",
    )  # fmt: skip
    result = found.json
    assert {field.name for field in fields(DebiasOptions)} <= set(result["options"])
    assert (result["options"]["train"], result["options"]["cover"]) == (train, 0.5)
    assert (result["command"], result["model"], result["data"]) == (
        "debias", "scenes-vit-tied", "scenes:count=40,seed=3",
    )  # fmt: skip
    assert {"class", "group", "images", "before", "after", "patched", "random"} == set(result["rows"][0])
    assert sum(row["images"] for row in result["rows"]) == 40
    ways = {"units", "measured", "units-axis", "terms-axis", "text-axis"}
    assert set(result["summary"]) == {"before", "after", "patched classifier", "random 1", "random 2", *ways}
    assert set(result["leaks"]) == {"before", *ways}
    assert (result["way"], result["summary"]["after"]) == ("units", result["summary"]["units"])
    assert f"not in the training images: {result['unweighted'][0]}" in " ".join(result["notes"])
    for removed in result["removed"]:
        assert removed["attribute"] > removed["classes"]
        assert f"head {removed['unit']} was removed" in removed["why"]
        assert "along place" in removed["why"]
    assert set(result["files"]) == {"result", "rows", "figure", "ablation", "classifier"}
    model = summand.load("scenes-vit-tied", ablation=result["files"]["ablation"])
    x = model.preprocess(summand.scenes.sample(3, seed=1).images)
    assert model.encode_image(x).shape == (3, 128)
    with np.load(result["files"]["classifier"]) as file:
        assert file["weights"].shape == (10, 128)
    with Image.open(result["files"]["figure"]) as picture:
        assert picture.size[1] > picture.size[0]  # twenty groups, one below the other
    (tmp_path / "result.json").write_text(json.dumps(result))
    again = command("debias", "--config", tmp_path / "result.json", "--json", "--out", tmp_path / "repaired").json
    assert close(again, result)
    given = {"classes": "shape", "groups": "place", "allow_empty": True, "cover": 0.5, "draws": 2, "way": "units"}
    made = summand.debias(tied, "scenes:count=40,seed=3", train, **given)
    own = json.loads(made.to_json())
    for key in ("model", "rows", "summary", "removed", "drawn", "unweighted"):
        assert close(own[key], result[key]), key
    torch.testing.assert_close(made.model.encode_image(x), model.encode_image(x))
    assert not torch.allclose(made.model.encode_image(x), tied.encode_image(x), atol=1e-3)
    alone = made.save(tmp_path / "alone.npz")
    assert set(alone) == {"ablation"}
    for name, array in dict(np.load(alone["ablation"])).items():
        np.testing.assert_array_equal(array, np.load(result["files"]["ablation"])[name])


def test_debias_by_hand_by_property_and_by_neurons(tmp_path):
    shared = ("scenes:count=16,seed=3", *TIED, "--allow-empty", "--draws", "1", "--out", tmp_path)
    table = command("debias", *shared, "--units", "5.0,3.0,5.0").out
    assert table.count("head 5.0 was removed because it was named.") == 1
    assert "(2 heads removed)" in table
    assert "worst group" in table
    named = command("debias", *shared, "--attribute", "place", "--json").json
    (place,) = [removed for removed in named["removed"] if removed["unit"] == "5.0"]
    assert f"its label fits 'place' ({', '.join(place['matched'])})" in place["why"]
    assert set(place["matched"]) <= set(place["texts"])
    assert place["matched"]
    assert named["unweighted"] == []
    neurons = command("debias", *shared, "--units", "neurons:4", "--cover", "0.3", "--way", "units", "--json").json
    assert {removed["unit"].split(":")[0] for removed in neurons["removed"]} == {"4"}
    paper = command("debias", *shared, "--units", "5.0", "--protocol", "paper", "--json").json
    assert [len(units) for units in paper["drawn"]] == [10]
    few = command("debias", *shared, "--units", "5.0", "--control", "4", "--layers", "2-3", "--json").json
    assert [len(units) for units in few["drawn"]] == [4]
    assert {unit.split(".")[0] for units in few["drawn"] for unit in units} <= {"2", "3"}
    by_hand = command("debias", *shared, "--units", "4:17,4:20").out
    assert "neuron 4:17 was removed because it was named" in by_hand
    path = tmp_path / "ablation.npz"
    assert summand.load("scenes-vit-tied", ablation=path).name.endswith("2 neurons of layer 4 ablated")
    with np.load(path) as file:
        same = dict(file)
    command("debias", *shared, "--units", "neurons:4.17,4.20")
    with np.load(path) as file:
        for name, array in file.items():
            np.testing.assert_array_equal(array, same[name])
    command("debias", *shared, "--units", "neurons:4", "--cover", "0.3", "--way", "units")
    model = summand.load("scenes-vit-tied", ablation=neurons["files"]["ablation"])
    assert f"{len(neurons['removed'])} neurons of layer 4 ablated" in model.name


def test_own_groups_as_lists_and_the_model_used_at_once(tied):
    """What is repaired is the mean-ablation of the named heads, on every group."""
    scenes = summand.scenes.sample(60, seed=7)
    shapes = [str(value) for value in scenes.attributes["shape"]]
    places = [str(value) for value in scenes.attributes["place"]]
    classes = list(map(str, summand.scenes.ATTRIBUTES["shape"]))
    given = {"units": "5.0,4.2", "draws": 2, "allow_empty": True, "templates": ["{a}"]}
    made = summand.debias(tied, (list(scenes.images), shapes, places), classes=classes, **given)
    x = tied.preprocess(scenes.images)
    heads = tied.decompose(x).heads()[:, [5, 4], [0, 2]].sum(dim=1)
    expected = tied.encode_image(x) - (heads - heads.mean(dim=0))
    torch.testing.assert_close(made.model.encode_image(x), expected, rtol=1e-3, atol=1e-3)
    texts = torch.nn.functional.normalize(
        tied.encode_text([f"{'an' if shape == 'arrow' else 'a'} {shape}" for shape in classes]), dim=1
    )
    frame = pd.DataFrame({"class": shapes, "group": places})
    for way, outputs in (("before", tied.encode_image(x)), ("after", expected)):
        guesses = [classes[int(code)] for code in (outputs @ texts.T).argmax(dim=1)]
        frame[way] = [float(guess == shape) for guess, shape in zip(guesses, shapes, strict=True)]
    wanted = foreign(frame.groupby(["class", "group"]))[["before", "after"]].mean()
    found = made.rows.set_index(["class", "group"])[["before", "after"]].sort_index()
    pd.testing.assert_frame_equal(found, wanted.sort_index())
    opened = summand.debias(tied, open_labelled("scenes:count=60,seed=7", "shape", groups="place"), **given)
    same = opened.rows.set_index(["class", "group"])[["before", "after"]].sort_index()
    pd.testing.assert_frame_equal(same, found)
    with pytest.raises(SummandError, match="no groups; give groups="):
        summand.debias(tied, (list(scenes.images), shapes), classes=classes, **given)
    with pytest.raises(SummandError, match="say what the spurious attribute is in words"):
        summand.debias(tied, (list(scenes.images), shapes, places), classes=classes, allow_empty=True)
    with pytest.raises(SummandError, match=r"layers of scenes-vit-tied are 0 to 5, got \[6\]"):
        summand.debias(tied, (list(scenes.images), shapes, places), classes=classes, **given, layers="6")


def test_the_tables_are_whole_at_80_columns_and_in_a_notebook(tied):
    options = {"classes": "shape", "groups": "place", "allow_empty": True, "draws": 2, "units": "5.0,4.1"}
    made = summand.debias(tied, "scenes:count=30,seed=3", **options)
    console = Console(width=80, record=True, file=io.StringIO())
    for table in made.tables():
        console.print(drawn(table))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "5.0" in text
    assert f"{100 * made.after.balanced:.1f}" in text
    assert f"{100 * made.best_random.weighted:.1f}" in text
    first = made.rows.sort_values("before", kind="stable").iloc[0]
    assert f"{first['class']} / {first['group']}" in " ".join(text.split())
    page = made._repr_html_()
    assert "head 4.1 was removed because it was named" in page
    assert "data:image/png;base64," in page
    assert "2 heads removed" in repr(made)


def test_training_images_of_waterbirds_layout_are_the_rows_of_split_train(tmp_path):
    """One folder for all splits, with masks that no table names; the splits have different mixes."""
    folder = summand.scenes.write_folder(summand.scenes.sample(20, seed=7), tmp_path / "birds")
    frame = pd.DataFrame({"img_filename": [f"images/{i:06d}.png" for i in range(20)]})
    frame["y"] = [0] * 6 + [1] * 6 + [0, 0, 1, 1] * 2
    frame["place"] = [0] * 5 + [1] * 6 + [0] + [0, 1, 0, 1] * 2
    frame["split"] = [0] * 12 + [2] * 8
    frame.to_csv(folder / "metadata.csv", index=False)
    frame.rename(columns={"img_filename": "path"})[:12].to_csv(folder / "only.csv", index=False)
    frame.rename(columns={"img_filename": "path"}).to_csv(folder / "all.csv", index=False)
    shared = (
        "debias", str(folder), "--groups", str(folder / "metadata.csv"), "--classes", "star,ring", "--units", "5.0",
        "--model", "scenes-vit-tied", "--draws", "1", "--json",
    )  # fmt: skip
    made = {}
    for name, more in (
        ("train", ("--train", str(folder))),
        ("means", ("--reference", str(folder / "only.csv"))),
        ("split", ("--reference", str(folder / "all.csv"), "--split", "train")),
        ("every", ("--reference", str(folder / "all.csv"))),
    ):
        made[name] = command(*shared, *more, "--out", tmp_path / f"{name}.npz").json
    assert sum(row["images"] for row in made["train"]["rows"]) == 8
    shares = {("star", "0"): 5 / 12, ("star", "1"): 1 / 12, ("ring", "0"): 1 / 12, ("ring", "1"): 5 / 12}
    weighted = sum(shares[row["class"], row["group"]] * row["before"] for row in made["train"]["rows"])
    assert made["train"]["summary"]["before"]["weighted"] == pytest.approx(weighted)
    found = {name: dict(np.load(tmp_path / f"{name}.npz")) for name in made}
    for name, array in found["train"].items():
        np.testing.assert_array_equal(array, found["means"][name])
        np.testing.assert_array_equal(array, found["split"][name])
    assert not np.array_equal(found["train"]["means"], found["every"]["means"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "--cover", "1.5"), "--cover must be a share above 0 and up to 1, got 1.5"),
        (("scenes:count=20", "--classes", "shape"), "have no groups"),
        (("scenes:count=20", *TIED), "group(s) have no images: "),
        (("scenes:count=20", *TIED), "--allow-empty to leave them out"),
        (("scenes:count=20", *TIED, "--units", "5.0", "--attribute", "place"), "leave it out where units are named"),
        (("scenes:count=20", *TIED, "--units", "5.0,4:1"), "must be heads (10.3) or neurons (9:41), not heads and neu"),
        (
            ("scenes:count=20", *TIED, "--units", "neurons:4", "--attribute", "place"),
            "matched with the labels",
        ),
        (("scenes:count=20", *TIED, "--units", "last"), "unknown units 'last'"),
        (("scenes:count=20", *TIED, "--units", "5"), "--units must be names, heads, or neurons:LAYER"),
        (("scenes:count=20", *TIED, "--units", "neurons"), "--units must be neurons of one layer"),
        (("scenes:count=20", *TIED, "--units", "4:1,3:1"), "--units must be neurons of one layer"),
        (("scenes:count=20", *TIED, "--units", "pairs"), "--units must be heads or neurons:LAYER"),
        (("scenes:count=20", *TIED, "--units", "neurons:4", "--layers", "3"), "--layers are those of heads"),
        (("scenes:count=20", *TIED, "--protocol", "own"), "--protocol"),
        (("scenes:count=20", *TIED, "--protocol", "paper", "--units", "neurons:4"), "leave it out for neurons"),
        (("scenes:count=20", *TIED, "--draws", "0"), "--draws must be at least 1, got 0"),
        (("scenes:count=20", *TIED, "--control", "0"), "--control must be at least 1, got 0"),
        (("scenes:count=20", *TIED, "--out", "no.txt/a.npz"), "no.txt is no folder"),
        (("scenes:count=20", *TIED, "--out", "no.txt"), "no.txt is a file"),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.txt").write_text("")
    monkeypatch.setattr(summand, "load", lambda *_, **__: pytest.fail("a model was loaded"), raising=False)
    found = command("debias", *arguments)
    assert (found.code, said in " ".join(found.error.split())) == (2, True), found


def test_units_are_read_by_the_one_grammar():
    assert read_units("heads") == read_units(None)
    for given in ("4:17,4:20", ["4:17", "4:20"], "neurons:4.17,4.20", "neurons:4:17,4:20", "4:17, 4:20, 4:17"):
        assert (read_units(given).kind, read_units(given).named) == ("neuron", ((4, 17), (4, 20)))
    assert (read_units("4.17").kind, read_units("4.17").named) == ("head", ((4, 17),))
    assert read_units("neurons:9").layer == 9
