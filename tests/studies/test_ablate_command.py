"""`summand ablate` as a user runs it, in the shell and in Python."""

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
from summand.studies.ablation.options import AblateOptions, read_sets
from summand.studies.debias.options import DebiasOptions
from summand.studies.truth.options import TruthOptions
from summand.studies.verb import said as documented
from summand.studies.zeroshot import attribute_classes, classifier
from tests.commands import command
from tests.studies.results import close

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked")]


def test_ablate_writes_a_figure_and_json(tmp_path):
    out = tmp_path / "a.png"
    given = (
        "ablate", "scenes:count=24,seed=3", "--classes", "colour", "--what", "mlps,attention", "--units", "5.0,4.1",
        "--out", out,
    )  # fmt: skip
    result = command(*given, "--json").json
    assert (result["command"], result["model"], result["data"]) == ("ablate", "scenes-vit", "scenes:count=24,seed=3")
    assert {field.name for field in fields(AblateOptions)} <= set(result["options"])
    assert result["options"]["keep"] == "1,2,5,10,20,50"
    assert [row["ablation"] for row in result["rows"]][:3] == ["heads 5.0 4.1", "all MLPs", "attention up to layer 0"]
    assert [row["x"] for row in result["rows"] if row["family"] == "attention"] == list(range(6))
    last = result["rows"][-1]
    assert last["accuracy"] < 0.5 < result["baseline"]
    assert last["drop"] == pytest.approx(result["baseline"] - last["accuracy"])
    with Image.open(out) as picture:
        assert np.asarray(picture.convert("L")).std() > 10  # something is drawn
    (tmp_path / "result.json").write_text(json.dumps(result))
    again = command("ablate", "--config", tmp_path / "result.json", "--json", "--out", out).json
    assert close(again, result)
    model = summand.load("scenes-vit")
    made = summand.ablate(
        model, "scenes:count=24,seed=3", classes="colour", what=["mlps", "attention"], units=["5.0", "4.1"]
    )
    assert close(json.loads(made.to_json())["rows"], result["rows"])
    assert (made.baseline, made.images) == (result["baseline"], 24)


def test_the_table_is_whole_at_80_columns_and_in_a_notebook(vit, tmp_path):
    made = summand.ablate(vit, "scenes:count=12,seed=3", classes="place", what="second-order", layers="3-4", variance=3)
    console = Console(width=80, record=True, file=io.StringIO())
    for table in made.tables():
        console.print(drawn(table))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for row in foreign(made.rows).itertuples():
        assert f"{100 * row.accuracy:.1f}" in text
    for share in made.variance:
        assert f"{100 * share['largest']:.1f} %" in text
    assert "…" not in text
    page = made._repr_html_()
    assert "insignificant mean-ablated" in page
    assert "data:image/png;base64," in page
    files = made.save(tmp_path / "all")
    assert set(files) == {"result", "rows", "figure", "classified"}
    seen = pd.read_csv(files["classified"])
    assert (seen["nothing"] == seen["label"]).mean() == pytest.approx(made.baseline)
    for row in foreign(made.rows).itertuples():
        assert (seen[row.ablation] == seen["label"]).mean() == pytest.approx(row.accuracy)


def test_named_units_are_ablated_by_their_definition_on_data_in_any_form(vit, resnet):
    scenes = summand.scenes.sample(40, seed=5)
    names = [str(value) for value in scenes.attributes["shape"]]
    classes = list(map(str, summand.scenes.ATTRIBUTES["shape"]))
    opened = open_labelled("scenes:count=40,seed=5", "shape")
    x = vit.preprocess(scenes.images)
    heads = vit.decompose(x).heads()

    def guessed(model, removed=0.0):
        moved = model.encode_image(model.preprocess(scenes.images)) - removed
        moved = moved + (removed.mean(dim=0) if isinstance(removed, torch.Tensor) else 0)
        found = (moved @ classifier(model, attribute_classes(model.world, "shape")).T).argmax(dim=1)
        return [classes[int(code)] for code in found]

    many = [0, 7, *range(20, 512)]
    neurons = {layer: vit.second_order(x, layer).vectors()[:, many].sum(dim=1) for layer in (3, 4)}
    sets = ["5.0,5.3,4.2", ",".join(f"{layer}:{n}" for layer in (3, 4) for n in many)]
    made = summand.ablate(vit, "scenes:count=40,seed=5", classes="shape", units="; ".join(sets))
    expected = [guessed(vit), guessed(vit, heads[:, [5, 5, 4], [0, 3, 2]].sum(dim=1))]
    expected.append(guessed(vit, neurons[3] + neurons[4]))
    found = [made.classified[name].tolist() for name in ("nothing", *made.rows["ablation"])]
    assert found == expected
    assert len(set(map(tuple, expected))) == 3  # each of them matters
    right = [np.mean([name == true for name, true in zip(row, names, strict=True)]) for row in expected]
    assert [made.baseline, *made.rows["accuracy"]] == pytest.approx(right)
    # The same images as lists, and opened already; the texts as they are for scenes.
    prompts = summand.ablate(vit, opened, units=[sets[0].split(","), sets[1].split(",")])
    pd.testing.assert_frame_equal(prompts.rows, made.rows)
    listed = summand.ablate(vit, (list(scenes.images), names), classes=classes, units="5.0", templates="{a}")
    of_string = summand.ablate(vit, "scenes:count=40,seed=5", classes="shape", units="5.0", templates="{a}")
    pd.testing.assert_frame_equal(listed.rows, of_string.rows)
    numbers = summand.ablate(vit, (scenes.images, opened.labels), classes=classes, units="5.0", templates="{a}")
    pd.testing.assert_frame_equal(numbers.rows, of_string.rows)
    pairs = resnet.pairs(resnet.preprocess(scenes.images)).vectors()
    some = [(n, h) for n in range(0, pairs.shape[1], 2) for h in (0, 2)]
    removed = sum(pairs[:, n, h] for n, h in some)
    units = ",".join(f"{n}x{h}" for n, h in some)
    made = summand.ablate(resnet, "scenes:count=40,seed=5", classes="shape", units=units)
    assert made.classified.iloc[:, -1].tolist() == guessed(resnet, removed) != guessed(resnet)


def test_data_that_is_no_labelled_images_is_refused(vit):
    scenes = summand.scenes.sample(4, seed=5)
    for data, options, said in (
        ((scenes.images, ["a", "b"]), {}, "4 images and 2 labels"),
        ((scenes.images, [0, 1, 0, 1]), {}, "labels holds numbers; say what they mean with classes=NAME"),
        ((scenes.images, ["a", "b", "a", "c"]), {"classes": "a,b"}, "not among the names given"),
        ((scenes.images, ["a", "b", "a", "b"]), {"label_column": "y"}, "label_column: of a table"),
        (scenes.images, {}, "expected labelled images as a source string"),
        (open_labelled("scenes:count=12", "place"), {"classes": "shape"}, "are labelled already; leave out classes"),
    ):
        with pytest.raises(SummandError, match=said):
            summand.ablate(vit, data, units="5.0", **options)


def test_every_ablation_of_the_papers_is_an_option(tmp_path):
    def names(*arguments: str) -> list[str]:
        given = ("ablate", "scenes:count=24,seed=3", "--classes", "place", *arguments, "--out", tmp_path / "a.png")
        result = command(*given, "--json").json
        assert all(0 <= row["accuracy"] <= 1 for row in result["rows"])
        return [row["ablation"] for row in result["rows"]]

    own = tmp_path / ("a-long-way-down/" * 12) / "own.txt"  # its path leaves no room in a figure
    own.parent.mkdir(parents=True)
    own.write_text("\n".join(f"a {colour} shape" for colour in ("red", "blue", "green")))
    pools = ("--pool", f"scenes,random,{own}", "--size", "2,4")
    made = names("--what", "class-token,second-order,indirect,sparse,textspan", "--layers", "4", "--reference",
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scenes:count=20",), "say which attribute"),
        (("scenes:count=20", "--classes", "shape", "--what", "heads,mpls"), "unknown ablation"),
        (("scenes:count=20", "--classes", "shape", "--out", "result.json/a.png"), "result.json is no folder"),
        (("nowhere",), "no labelled images at nowhere"),
        (("nowhere", "--size", "4,0"), "--size takes numbers above 0, got [0]"),
        (("nowhere", "--keep", "5,200"), "--keep takes numbers above 0 and up to 100, got [200.0]"),
        (("nowhere", "--layers=-1"), "--layers takes numbers from 0 on, such as 8-10,12; got '-1'"),
        (("nowhere", "--layers", "last"), "--layers takes numbers from 0 on, such as 8-10,12; got 'last'"),
        (("nowhere", "--size", "few"), "--size takes numbers with commas between them, got 'few'"),
        (("nowhere", "--units", "5"), "a unit is called head LAYER.HEAD (10.3)"),
        (("nowhere", "--units", "5.0,4:1"), "--units has heads and neurons in one set"),
        (("nowhere", "--units", "4#1,5.0"), "--units has latents and heads in one set"),
        (("nowhere", "--units", ";"), "--units must name units"),
        (("nowhere", "--variance", "0"), "--variance must be at least 1, got 0"),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "result.json").write_text("{}")
    monkeypatch.setattr(summand, "load", lambda *_, **__: pytest.fail("a model was loaded"), raising=False)
    found = command("ablate", *arguments)
    assert (found.code, said in " ".join(found.error.split())) == (2, True), found


@pytest.mark.parametrize("kind", [AblateOptions, DebiasOptions, TruthOptions])
def test_every_option_says_what_it_is_for(kind):
    assert set(documented(kind)) == {field.name for field in fields(kind)}


def test_sets_of_units_are_read_from_strings_and_lists():
    expected = [["10.3", "11.5"], ["9:2914"]]
    for given in ("10.3,11.5;9:2914", " 10.3 , 11.5 ; 9:2914 ;", [["10.3", "11.5"], ["9:2914"]]):
        assert [list(map(str, some)) for some in read_sets(given)] == expected
    assert [list(map(str, some)) for some in read_sets(["10.3", "11.5"])] == expected[:1]
    assert read_sets(None) == []
