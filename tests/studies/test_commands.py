"""`summand ablate` and `summand debias` as a user runs them, in this process."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import summand
from summand import SummandError
from summand.cli import app

pytestmark = pytest.mark.usefixtures("unchecked")  # typer hands over None for a flag that was not given
TIED = ("--classes", "shape", "--groups", "place", "--model", "scenes-vit-tied")


def run(*arguments: str):
    found = CliRunner().invoke(app, list(arguments))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def assert_repeatable(result: dict) -> None:
    """Every option is in the record, at its default too, but for what changes no number."""
    asked = typer.main.get_command(app).commands[result["command"]].params  # type: ignore[attr-defined]
    names = {option.opts[0].lstrip("-").replace("-", "_") for option in asked}
    assert set(result["options"]) == names - {"data", "model", "batch_size", "device", "json"}


def test_ablate_writes_a_figure_and_json(tmp_path):
    out = tmp_path / "a.png"
    found = run(
        "ablate", "scenes:count=24,seed=3", "--classes", "colour", "--what", "mlps,attention", "--heads", "5.0,4.1",
        "--out", str(out), "--json",
    )  # fmt: skip
    result = json.loads(found.stdout)
    assert (result["command"], result["model"]) == ("ablate", "scenes-vit")
    assert_repeatable(result)
    assert result["options"]["keep"] == "1,2,5,10,20,50"
    assert [row["ablation"] for row in result["rows"]][:3] == ["heads 5.0 4.1", "all MLPs", "attention up to layer 0"]
    assert [row["x"] for row in result["rows"] if row["family"] == "attention"] == list(range(6))
    last = result["rows"][-1]
    assert last["accuracy"] < 0.5 < result["baseline"]
    assert last["drop"] == pytest.approx(result["baseline"] - last["accuracy"])
    assert out.stat().st_size > 5000


def test_every_ablation_of_the_papers_is_an_option(tmp_path):
    def names(*arguments: str) -> list[str]:
        found = run("ablate", "scenes:count=24,seed=3", "--classes", "place", *arguments, "--out",
                    str(tmp_path / "a.png"), "--json")  # fmt: skip
        result = json.loads(found.stdout)
        assert all(0 <= row["accuracy"] <= 1 for row in result["rows"])
        return [row["ablation"] for row in result["rows"]]

    own = tmp_path / ("a-long-way-down/" * 12) / "own.txt"  # its path leaves no room in a figure
    own.parent.mkdir(parents=True)
    own.write_text("\n".join(f"a {colour} shape" for colour in ("red", "blue", "green")))
    pools = ("--pool", f"scenes,random,{own}", "--sizes", "2,4")
    made = names("--what", "class-token,second-order,indirect,sparse,textspan", "--layers", "4", "--means",
                 "scenes:count=24,seed=4", *pools)  # fmt: skip
    layer = "second-order effects of layer 4"
    for what in ("all", "significant", "insignificant"):
        assert f"{layer}: {what} mean-ablated" in made
    assert {f"{layer}: rank-one reconstruction", "indirect effects of layer 4 mean-ablated"} < set(made)
    assert "the class token's own term" in made
    for pool in ("scenes", "random", str(own)):
        for size in (2, 4):
            assert f"sparse codes, layer 4: {size} texts a neuron, {pool}" in made
            assert f"{size} texts a head, {pool}" in made
    pairs = names("--model", "scenes-rn", "--what", "pairs", "--keep", "5,50")
    assert pairs == [
        f"all but {share} % of the {what}" for what in ("neuron–head pairs", "neurons") for share in (5, 50)
    ]


def test_debias_says_what_was_removed_and_writes_what_load_applies(tmp_path):
    out, patched = tmp_path / "a.npz", tmp_path / "c.npz"
    found = run(
        "debias", "scenes:count=40,seed=3", *TIED, "--train", "scenes:count=30,seed=4,tie=shape/place/0.95",
        "--allow-empty", "--cover", "0.5", "--draws", "2", "--out", str(out), "--classifier", str(patched), "--json",
        "--figure", str(tmp_path / "a.png"),
    )  # fmt: skip
    result = json.loads(found.stdout)
    assert_repeatable(result)
    assert {"class", "group", "images", "before", "after", "patched", "random"} == set(result["rows"][0])
    assert sum(row["images"] for row in result["rows"]) == 40
    assert set(result["summary"]) == {"before", "after", "patched classifier", "random 1", "random 2"}
    assert f"not in the training images: {result['unweighted'][0]}" in " ".join(found.stderr.split())
    for removed in result["removed"]:
        assert removed["attribute"] > removed["classes"]
        assert f"head {removed['unit']} was removed" in removed["why"]
        assert "along place" in removed["why"]
    model = summand.load("scenes-vit-tied", ablation=out)
    scenes = summand.scenes.sample(3, seed=1)
    assert model.encode_image(model.preprocess(scenes.images)).shape == (3, 128)
    with np.load(patched) as file:
        assert file["weights"].shape == (10, 128)
    assert result["files"]["figure"] == str(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[1] > picture.size[0]  # twenty groups, one below the other


def test_debias_by_hand_by_property_and_by_neurons(tmp_path):
    shared = ("scenes:count=24,seed=3", *TIED, "--allow-empty", "--draws", "1", "--out", str(tmp_path / "a.npz"))
    shared += ("--figure", str(tmp_path / "a.png"))
    table = run("debias", *shared, "--heads", "5.0,3.0,5.0").stdout
    assert table.count("head 5.0 was removed because it was named.") == 1
    assert "(2 heads removed)" in table
    assert "worst group" in table
    named = json.loads(run("debias", *shared, "--property", "place", "--json").stdout)
    (place,) = [removed for removed in named["removed"] if removed["unit"] == "5.0"]
    assert f"its label fits 'place' ({', '.join(place['matched'])})" in place["why"]
    assert set(place["matched"]) <= set(place["texts"])
    assert place["matched"]
    assert named["unweighted"] == []
    neurons = json.loads(run("debias", *shared, "--neurons", "4", "--cover", "0.3", "--json").stdout)
    assert {removed["unit"].split(".")[0] for removed in neurons["removed"]} == {"4"}
    paper = json.loads(run("debias", *shared, "--heads", "5.0", "--protocol", "paper", "--json").stdout)
    assert [len(units) for units in paper["drawn"]] == [10]
    few = json.loads(run("debias", *shared, "--heads", "5.0", "--control", "4", "--json").stdout)
    assert [len(units) for units in few["drawn"]] == [4]
    by_hand = run("debias", *shared, "--neurons", "4.17,4.20").stdout
    assert "neuron 4.17 was removed because it was named" in by_hand
    assert summand.load("scenes-vit-tied", ablation=tmp_path / "a.npz").name.endswith("2 neurons of layer 4 ablated")
    run("debias", *shared, "--neurons", "4", "--cover", "0.3")
    model = summand.load("scenes-vit-tied", ablation=neurons["files"]["ablation"])
    assert f"{len(neurons['removed'])} neurons of layer 4 ablated" in model.name


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
        "debias", str(folder), "--groups", str(folder / "metadata.csv"), "--classes", "star,ring", "--heads", "5.0",
        "--model", "scenes-vit-tied", "--draws", "1", "--json", "--figure", str(tmp_path / "a.png"),
    )  # fmt: skip
    made = {}
    for name, more in (
        ("train", ("--train", str(folder))),
        ("means", ("--means", str(folder / "only.csv"))),
        ("split", ("--means", str(folder / "all.csv"), "--split", "train")),
        ("every", ("--means", str(folder / "all.csv"))),
    ):
        made[name] = json.loads(run(*shared, *more, "--out", str(tmp_path / f"{name}.npz")).stdout)
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
        (("ablate", "scenes:count=20"), "say which attribute"),
        (("ablate", "scenes:count=20", "--classes", "shape", "--what", "heads,mpls"), "unknown ablation"),
        (("ablate", "scenes:count=20", "--classes", "shape", "--out", "a.txt"), "must end in"),
        (("ablate", "nowhere"), "no labelled images at nowhere"),
        (("ablate", "nowhere", "--sizes", "4,0"), r"--sizes takes numbers above 0, got \[0\]"),
        (("ablate", "nowhere", "--keep", "5,200"), r"--keep takes numbers above 0 and up to 100, got \[200\.0\]"),
        (("ablate", "nowhere", "--layers", "-1"), r"--layers takes numbers from 0 on, got \[-1\]"),
        (("ablate", "nowhere", "--layers", "last"), "--layers takes numbers with commas between them, got 'last'"),
        (("ablate", "nowhere", "--heads", "5"), r"expected layer\.head"),
        (("debias", "nowhere", "--cover", "1.5"), r"above 0 and up to 1, got 1\.5"),
        (("debias", "scenes:count=20", "--classes", "shape"), "have no groups"),
        (("debias", "scenes:count=20", *TIED), r"group\(s\) have no images: .* --allow-empty"),
        (("debias", "scenes:count=20", *TIED, "--heads", "5.0", "--property", "place"), "not both"),
        (("debias", "scenes:count=20", *TIED, "--heads", "5.0", "--neurons", "4"), "give one of them"),
        (("debias", "scenes:count=20", *TIED, "--neurons", "last"), "takes a layer such as 9, or neurons such as"),
        (("debias", "scenes:count=20", *TIED, "--protocol", "own"), "--protocol must be 'paper' or be left out"),
        (("debias", "scenes:count=20", *TIED, "--protocol", "paper", "--neurons", "4"), "leave --neurons out"),
        (("debias", "scenes:count=20", *TIED, "--out", "a.pkl"), r"must end in \.npz"),
        (("debias", "scenes:count=20", *TIED, "--figure", "a.txt"), r"must end in \.png"),
        (("debias", "scenes:count=20", *TIED, "--out", "no/a.npz"), "--out no/a.npz: there is no folder no; create it"),
        (("debias", "scenes:count=20", *TIED, "--classifier", "no/a.npz"), "there is no folder no; create it or"),
        (("debias", "scenes:count=20", *TIED, "--figure", "no/a.png"), "there is no folder no; create it or choose"),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(arguments, said):
    with pytest.raises(SummandError, match=said):
        run(*arguments)
