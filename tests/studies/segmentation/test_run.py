from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

import summand
from summand import SummandError
from summand.border import foreign
from summand.data.masks import Masked, MaskSource, open_masks
from summand.maps.methods import MapMethod, choose, default_methods, prepare
from summand.maps.references import reference_batches
from summand.maps.windows import check_fit, fitted, fitted_mask, stitched, window_starts, windows
from summand.report.segmentation import examples_figure
from summand.report.terminal import drawn
from summand.studies.perturbation.curves import perturbation_curves
from summand.studies.perturbation.options import PerturbationOptions
from summand.studies.segmentation.metrics import FigureScores
from summand.studies.segmentation.protocol import Protocol
from summand.studies.segmentation.scoring import score
from summand.studies.segmentation.texts import class_texts
from tests.commands import command

pytestmark = pytest.mark.slow

TWO = "scenes:count=24,seed=77,groups=2"


def oracle(source: MaskSource, name: str = "truth") -> MapMethod:
    """A method that knows: it finds the picture by its pixels and returns its mask, at the picture's resolution."""
    known = [source.read(i) for i in range(len(source))]
    size = known[0].mask.shape

    def maps(pixels, directions):
        found = torch.zeros(len(pixels), len(directions), *size)
        for i, x in enumerate(pixels):
            scene = next(
                m for m in known if np.allclose(np.asarray(m.image).transpose(2, 0, 1) / 255, x * 0.25 + 0.5, atol=0.01)
            )
            found[i] = torch.from_numpy(scene.mask == 1).float()
        return found

    return MapMethod(name, name, "", maps, many=True)


def test_the_truth_scores_one_and_everything_is_aligned(vit):
    source = open_masks(TWO)
    found = score(vit, source, [oracle(source)], batch_size=7)
    scores = found.scores["truth"]
    assert all(scores[key] == pytest.approx(1) for key in ("pixel_accuracy", "mIoU", "mAP", "AP"))
    assert found.images <= 24  # scenes whose group is hidden are left out
    assert list(found.per_image["ap_figure"]) == pytest.approx([1.0] * found.images)


def test_decomposition_beats_chance_and_the_text_matters(vit):
    source = open_masks(TWO)
    true = score(vit, source, ["decomposition"], examples=2)
    scores = true.scores["decomposition"]
    share = np.mean([(source.read(i).mask == 1).mean() for i in range(24)])
    assert scores["AP"] > 4 * share
    assert scores["cost"] > 0
    assert [set(example.maps) for example in true.examples] == [{"decomposition"}] * 2
    read = source.read
    turned = {i: (read(i).asked + 5) % 10 for i in range(24)}
    wrong = replace(source, read=lambda i: replace(read(i), asked=turned[i]))
    assert score(vit, wrong, ["decomposition"]).scores["decomposition"]["AP"] < 0.7 * scores["AP"]


def test_neurons_and_pairs_beat_chance(vit, resnet):
    source = open_masks(TWO)
    share = np.mean([(source.read(i).mask == 1).mean() for i in range(24)])
    reference = reference_batches(vit, summand.scenes.sample(60, seed=1).images)
    found = score(vit, source, ["neurons", "second-order", "neurons-both"], reference=reference)
    assert found.scores["neurons"]["AP"] > 2 * share
    assert found.scores["second-order"]["AP"] > 4 * share
    assert found.scores["neurons-both"]["mIoU"] > found.scores["neurons"]["mIoU"]
    found = score(resnet, source, ["pairs", "decomposition"])
    assert found.scores["pairs"]["AP"] > 2 * share
    assert default_methods(resnet) == ["decomposition", "pairs"]


def test_semantic_scenes_name_each_pixel(vit):
    source = open_masks("scenes:count=12,seed=3,groups=2", attribute="colour")
    found = score(vit, source, ["decomposition"])
    scores = found.scores["decomposition"]
    assert found.task == "classes"
    assert scores["pixel_accuracy_without_background"] > 0.5
    assert {"mIoU", "mIoU_without_background"} <= set(scores)


def test_the_figure_of_classes_shows_the_truth_and_names_its_colours(vit):
    source = open_masks("scenes:count=3,seed=3,groups=2", attribute="colour")
    found = score(vit, source, ["decomposition"], examples=3)
    figure = examples_figure(found.examples, {"decomposition": "parts"}, source.classes, source.background)
    shown = [image.get_array() for axis in figure.axes for image in axis.get_images()]
    assert len(shown) == 9
    legend = {
        text.get_text(): np.array(patch.get_facecolor()[:3])
        for text, patch in zip(figure.legends[0].get_texts(), figure.legends[0].get_patches(), strict=True)
    }
    for picture, example in zip(shown[1::3], found.examples, strict=True):
        for number in np.unique(example.mask):
            colour = legend[source.classes[number] if number >= 0 else "does not count"]
            assert np.allclose(picture[example.mask == number] / 255, colour, atol=0.01)
    assert len({tuple(colour) for colour in legend.values()}) == len(legend)
    assert "largest" in found.protocol.describe(found.task)
    assert "true class" in found.protocol.describe("figures")


def test_image_and_mask_are_fitted_alike():
    """A picture that is its own mask stays its own mask, however it is fitted; but for the published mismatch."""
    mask = np.zeros((40, 90), dtype=np.int32)
    mask[4:24, 10:50] = 1
    picture = Image.fromarray((mask * 255).astype(np.uint8)).convert("RGB")
    for fit, alike in (("crop", True), ("stretch", True), ("mismatch", False)):
        image, truth = np.asarray(fitted(picture, (32, 32), fit))[..., 0], fitted_mask(mask, (32, 32), fit)
        assert image.shape == truth.shape == (32, 32)
        assert bool(np.mean((image > 127) == (truth == 1)) > 0.98) is alike


def test_windows_cover_everything_and_stitch_back():
    image = Image.new("RGB", (150, 64))
    places = windows(image, (64, 64))
    assert places == [(0, 0), (0, 32), (0, 64), (0, 86)]
    assert window_starts(64, 64, 32) == [0]
    whole = torch.arange(150.0).expand(64, 150)
    maps = torch.stack([whole[:, left : left + 64] for _, left in places])[:, None]
    torch.testing.assert_close(stitched(maps, places, (64, 64), (64, 150))[0], whole)


def test_windows_over_a_wide_picture(vit):
    """Two scenes side by side: the windows find the one that is asked for."""
    one, other = (
        summand.scenes.describe("three red stars in the snow").images[0],
        summand.scenes.describe("three blue rings in the snow").images[0],
    )
    wide = Image.fromarray(np.concatenate([one, other], axis=1))
    mask = np.zeros((64, 128), dtype=np.int32)
    mask[:, :64] = 1
    source = MaskSource(
        "wide",
        ("red", "blue"),
        1,
        lambda _: Masked("wide", wide, mask, 0),
        (("a red object",), ("a blue object",)),
        figures=True,
    )
    found = score(vit, source, ["decomposition"], Protocol(fit="windows"), examples=1)
    shown = found.examples[0].maps["decomposition"]
    assert shown.shape == (64, 128)
    assert shown[:, :64].mean() > 2 * shown[:, 64:].mean()


def test_predicted_classes_and_the_published_protocol(vit):
    source = open_masks("scenes:count=6,seed=3")
    published = Protocol.published()
    found = score(vit, source, ["decomposition"], published)
    texts = class_texts(vit, source)
    x = vit.preprocess(np.stack([np.asarray(source.read(i).image) for i in range(6)]))
    best = (vit.encode_image(x) @ texts.T).argmax(dim=1)
    assert list(found.per_image["asked"]) == [source.classes[source.things[int(i)]] for i in best]
    assert "predicts" in published.describe()
    assert (
        prepare(vit, "neurons", reference_batches(vit, summand.scenes.sample(8, seed=1).images), paper=True).threshold
        == 0.5
    )


def test_the_published_protocol_leaves_no_picture_out(vit):
    source = open_masks("scenes:count=6,seed=3")
    read = source.read
    bare = replace(source, read=lambda i: replace(read(i), mask=np.zeros_like(read(i).mask)) if i < 2 else read(i))
    unlabelled = replace(source, read=lambda i: replace(read(i), mask=read(i).mask * 0 - 1) if i < 2 else read(i))
    published, own = Protocol.published(), Protocol()
    assert score(vit, bare, ["decomposition"], own).images == score(vit, source, ["decomposition"], own).images - 2
    found = score(vit, bare, ["decomposition"], published)
    assert found.images == 6
    assert foreign(found.per_image)["ap_two_channel"][:2].between(0.2, 1).all()
    assert found.per_image["ap_figure"].isna().tolist() == [True, True, *[False] * 4]
    assert found.scores["decomposition"]["mAP"] == pytest.approx(foreign(found.per_image)["ap_two_channel"].mean())
    assert score(vit, unlabelled, ["decomposition"], published).images == 4
    assert "without a figure count" in published.describe()
    assert "without a figure" not in own.describe()


def test_broken_pictures_are_skipped_and_mistakes_named(vit, resnet):
    source = open_masks("scenes:count=4,seed=3")
    read = source.read

    def sometimes(index):
        if index == 1:
            raise OSError("truncated")
        return read(index)

    found = score(vit, replace(source, read=sometimes), ["decomposition"])
    assert found.images == 3
    assert found.skipped[0].reason == "truncated"
    with pytest.raises(SummandError, match="did you mean 'neurons'"):
        choose(vit, ["neuron"])
    with pytest.raises(SummandError, match="pairs does not apply to scenes-vit"):
        choose(vit, ["pairs"])
    names, refused = choose(resnet, ["all"])
    assert {"pairs", "decomposition"} <= set(names)
    assert "neurons" in refused
    with pytest.raises(SummandError, match="fit must be one of"):
        check_fit("squash")
    with pytest.raises(SummandError, match="threshold must be"):
        Protocol(threshold=1.5)
    with pytest.raises(SummandError, match="does not say which class"):
        score(vit, replace(source, read=lambda i: replace(read(i), asked=None)), ["decomposition"])
    with pytest.raises(SummandError, match="empty name or prompt"):
        replace(source, prompts=((" ",), *source.prompts[1:]))
    with pytest.raises(SummandError, match="no picture could be segmented"):
        score(vit, replace(source, read=lambda i: sometimes(1)), ["decomposition"])


def test_perturbation_tells_a_map_from_chance(vit):
    source = open_masks("scenes:count=10,seed=5,groups=1")
    found = score(vit, source, ["decomposition", "random"], perturbation=PerturbationOptions(steps=4))
    ours, chance = found.scores["decomposition"], found.scores["random"]
    assert ours["deletion_positive"] < chance["deletion_positive"] < ours["deletion_negative"]
    assert ours["insertion_negative"] < chance["insertion_positive"] < ours["insertion_positive"]
    rows = found.per_image[found.per_image["method"] == "decomposition"]
    assert rows["deletion_positive"].mean() == pytest.approx(ours["deletion_positive"])
    pixels = vit.preprocess(np.asarray(source.read(0).image)[None])
    method, texts, which = prepare(vit, "decomposition"), class_texts(vit, source), torch.tensor([source.read(0).asked])
    signed = replace(method, shape="signed").of_one(pixels, method.directions(texts), which)
    curves = perturbation_curves(vit, pixels, signed, texts, which, PerturbationOptions(steps=4))
    assert foreign(rows)["deletion_negative"].iloc[0] == pytest.approx(
        float(curves.areas()["deletion_negative"][0]), abs=1e-5
    )
    with pytest.raises(SummandError, match="without windows"):
        score(vit, source, ["random"], Protocol(fit="windows"), perturbation=PerturbationOptions())


def test_the_command_end_to_end(vit, tmp_path, unchecked):
    out = tmp_path / "out"
    given = ("segment", "scenes:count=8,seed=2,groups=2", "--methods", "decomposition", "--perturbation", "--json")
    result = command(*given, "--out", out, "--examples", "2").json
    assert result["command"] == "segment"
    assert result["protocol"]["fit"] == "crop"
    assert result["rows"][0]["deletion_positive"] < result["rows"][0]["deletion_negative"]
    assert result["rows"][0]["mAP"] > 0.5
    assert len(pd.read_parquet(out / "per_image.parquet")) == result["images"]
    assert Image.open(out / "figure.png").size[0] > 200
    (tmp_path / "whole.json").write_text(json.dumps(result))
    again = command("segment", "--config", tmp_path / "whole.json", "--json").json
    python = summand.segment(vit, given[1], methods=["decomposition"], perturbation=True, examples=2)
    for other in (again["rows"], python.rows.to_dict("records")):
        assert without_cost(other) == without_cost(result["rows"])
    own = {**asdict(python.options), "methods": "decomposition"}
    assert own == {name: result["options"][name] for name in own}
    assert "<img" in python._repr_html_()
    assert "decomposition" in python._repr_html_()


def without_cost(rows) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "cost"} for row in rows]


def test_own_pictures_and_masks_are_the_folder_of_them(vit, tmp_path):
    """The same pictures as lists, as arrays and as a folder; and with figures named one by one."""
    scenes = summand.scenes.sample(5, seed=5)
    masks = scenes.masks.astype(np.uint8)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i, (picture, mask) in enumerate(zip(scenes.images, masks, strict=True)):
        Image.fromarray(picture).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    (tmp_path / "classes.txt").write_text("background\nan object\n")
    options = {"methods": "decomposition", "asked": "predicted"}
    folder = summand.segment(vit, str(tmp_path), **options)
    classes = ["background", "an object"]
    files = [sorted((tmp_path / name).iterdir()) for name in ("images", "masks")]
    for images, truth, named in (
        (scenes.images, masks, classes),
        ([Image.fromarray(one) for one in scenes.images], list(masks), {0: "background", 1: "an object"}),
        (*files, classes),
    ):
        own = summand.segment(vit, (images, truth, named), **options)
        assert without_cost(own.rows.to_dict("records")) == without_cost(folder.rows.to_dict("records"))
        assert own.background == folder.background == 0
    texts = [f"a {colour} {shape}" for colour, shape in scenes.attributes[["colour", "shape"]].to_numpy()]
    figures = summand.segment(vit, (scenes.images, scenes.masks.astype(bool), texts), methods="decomposition")
    assert figures.task == "figures"
    assert list(figures.per_image["asked"]) == texts
    assert figures.rows["AP"][0] > 0.5
    inverted = summand.segment(vit, (scenes.images, ~scenes.masks.astype(bool), texts), methods="decomposition")
    assert inverted.rows["mIoU"][0] < figures.rows["mIoU"][0]
    assert summand.segment(vit, open_masks(TWO), methods="random", count=5).images == 5


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda x, m: (x, m[:1], ["background", "a ring"]), "2 images and 1 masks"),
        (lambda x, m: (x, m[:, :5], ["background", "a ring"]), r"its mask is \[5, 64\], the picture \[64, 64\]"),
        (lambda x, m: (x, m + 1, ["background", "a ring"]), "holds 2, which no class has"),
        (lambda x, m: (x, m.astype(float), ["background", "a ring"]), "whole numbers or booleans, got float64"),
        (lambda x, m: (x, m.astype(bool), ["a ring"]), "2 names, got 1"),
        (lambda x, m: (x, [m[0], m[1].astype(bool)], ["a ring"]), "some masks are of booleans"),
        (lambda x, m: (x, m, ["a ring", "a ring"]), "named twice"),
        (lambda x, m: (x, m, "a ring"), "classes are 'a ring'"),
        (lambda x, m: [x, m], "a source of pictures with masks, or"),
    ],
)
def test_own_masks_that_do_not_fit_are_named(vit, unchecked, data, said):
    scenes = summand.scenes.sample(2, seed=5)
    with pytest.raises(SummandError, match=said):
        summand.segment(vit, data(scenes.images, scenes.masks.astype(np.int64)), methods="random")


def test_options_are_checked_before_anything_is_read(unchecked):
    for options, said in (
        ({"fit": "squash"}, "fit must be one of crop"),
        ({"threshold": 1.5}, "threshold must be 'mean'"),
        ({"asked": "both"}, "asked must be one of true, predicted"),
        ({"count": 0}, "count must be at least 1"),
        ({"steps": 4}, "perturbation=True"),
        ({"fitt": "crop"}, "did you mean 'fit'"),
    ):
        with pytest.raises(SummandError, match=said):
            summand.segment(None, "nowhere", **options)
    found = command("segment", "nowhere", "--steps", "4")
    assert (found.code, "--steps says" in found.error, "--perturbation" in found.error) == (2, True, True)


def test_at_80_columns_every_method_and_number_is_whole(vit):
    found = summand.segment(vit, "scenes:count=4,seed=5", methods="transformer-attribution,random", perturbation=True)
    (table,) = found.tables()
    console = Console(width=80, file=io.StringIO())
    console.print(drawn(table))
    lines = foreign(console.file).getvalue().split("\n")
    assert max(map(len, lines)) <= 80
    for row in found.rows.to_dict("records"):
        line = next(line for line in lines if row["method"] in line)
        numbers = [float(word) for word in line.replace("│", " ").replace("┃", " ").split()[1:]]
        keys = ("mIoU", "mAP", "AP", "deletion_positive", "insertion_positive")
        assert numbers[:-1] == pytest.approx([100 * row[key] for key in keys], abs=0.051)
        assert numbers[-1] == pytest.approx(row["cost"], abs=0.0051)
    assert all(word in " ".join(lines) for word in ("del.", "ins.", "cost"))


def test_thresholds_of_classes_and_whole_numbers_count(vit):
    source = open_masks("scenes:count=6,seed=3,groups=2", attribute="colour")
    scores = {
        threshold: score(vit, source, ["decomposition"], Protocol(threshold=threshold)).scores["decomposition"]
        for threshold in (0.5, "mean", 0.0, 0)
    }
    assert scores["mean"]["pixel_accuracy"] != scores[0.5]["pixel_accuracy"]
    assert scores[0] == pytest.approx({**scores[0.0], "cost": scores[0]["cost"]})
    assert "its mean" in Protocol(threshold="mean").describe("classes")
    whole = FigureScores(0)
    values = torch.tensor([[0.2, 0.0], [0.4, 0.0]])
    assert whole.update(values, torch.tensor([[1, 0], [1, 0]])).pixel_accuracy == 1


def test_as_published_maps_are_up_sampled_before_they_are_clipped(vit):
    source = open_masks("scenes:count=4,seed=3,groups=2")
    signed = torch.tensor([[-3.0, 1.0], [2.0, -1.0]])
    method = MapMethod("m", "m", "", lambda pixels, along: signed.expand(len(pixels), 1, 2, 2), shape="clipped")
    found = score(vit, source, [method], Protocol(fit="crop", threshold=0.5, paper=True), examples=1).examples[0]
    grown = torch.nn.functional.interpolate(signed[None, None], size=(64, 64), mode="bilinear")[0, 0].clamp(min=0)
    np.testing.assert_allclose(found.maps["m"], (grown / grown.max()).numpy(), atol=1e-6)


def test_baselines_are_treated_as_chosen_on_scenes_unless_published(vit):
    chosen, published = prepare(vit, "clip-surgery"), prepare(vit, "clip-surgery", paper=True)
    assert (chosen.shape, published.shape) == ("clipped", "signed")
    assert prepare(vit, "chefer").contrast


def test_a_single_class_is_refused_and_own_folders_suit_the_scenes_models(vit, tmp_path, unchecked):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    scenes = summand.scenes.sample(3, seed=5)
    for i, picture in enumerate(scenes.images):
        Image.fromarray(picture).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(scenes.masks[i].astype(np.uint8)).save(tmp_path / "masks" / f"{i}.png")
    (tmp_path / "classes.txt").write_text("Background\ncrescent\n")
    assert open_masks(str(tmp_path)).background == 0
    (tmp_path / "images" / "2.png").write_text("no picture")
    found = score(vit, open_masks(str(tmp_path)), ["decomposition"])
    assert found.images == 2
    assert [(item.name, item.reason) for item in found.skipped] == [("2.png", "not an image that Pillow can read")]
    (tmp_path / "classes.txt").write_text("0: crescent\n1: void\n")
    with pytest.raises(SummandError, match="has one class, 'crescent'"):
        score(vit, open_masks(str(tmp_path)), ["decomposition"])
    for text, said in (("0: a\nb", "'b' has no number"), ("0: a\n0: b", "number 0 is given to two")):
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(SummandError, match=said):
            open_masks(str(tmp_path))


@pytest.mark.parametrize("fit", ["crop", "windows"])
def test_baselines_share_one_pass_and_draw_what_each_draws_alone(vit, monkeypatch, fit):
    from summand.maps.baselines import capture

    source, names = open_masks("scenes:count=6,seed=8,groups=2"), ["rollout", "chefer", "gradcam", "legrad", "maskclip"]
    alone = {name: score(vit, source, [name], Protocol(fit=fit), batch_size=3).per_image for name in names}
    passes, enter = [], capture.Capture._blocks
    monkeypatch.setattr(capture.Capture, "_blocks", lambda self, *given: passes.append(1) or enter(self, *given))
    together = score(vit, source, [*names, "random"], Protocol(fit=fit), batch_size=3)
    assert len(passes) == {"crop": 2, "windows": together.images}[fit]
    for name, rows in alone.items():
        found = together.per_image[together.per_image["method"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, rows, atol=1e-6)
    assert together.scores["rollout"]["cost"] > together.scores["random"]["cost"]  # the pass counts for its users


def test_neuron_maps_are_drawn_as_asked(unchecked):
    run = ("segment", "scenes:count=4,seed=8", "--reference", "scenes:count=8", "--json", "--methods")
    rows = []
    for more in ([], ["--neurons-per-text", "3"], ["--weighting", "mean"], ["--layers", "4"]):
        rows.append(command(*run, "neurons", *more).json["rows"][0]["AP"])
    assert len(set(rows)) == 4
    for more, said in (
        (["neurons", "--weighting", "sum"], '"sum"'),
        (["neurons", "--layers", "x"], "expected a layer or a range"),
        (["neurons", "--layers", "9"], "layers 0 to"),
        (["decomposition", "--neurons-per-text", "5"], "drawn by neurons, neurons-both; name one"),
        (["second-order", "--layers", "9"], "layers 0 to"),
    ):
        found = command(*run, *more)
        assert found.code == 2
        assert said in found.error, found.error


def test_a_method_that_compares_the_classes_draws_all_of_them(vit):
    from summand.maps.baselines import baseline_maps

    scenes, texts = summand.scenes.sample(3, seed=4), class_texts(vit, open_masks(TWO))
    pixels, which = vit.preprocess(scenes.images), torch.tensor([5, 0, 5])

    def maps(pixels, along):
        return baseline_maps(vit, pixels, along, "clip-surgery", feature_surgery=True)

    found = MapMethod("m", "m", "", maps, among_all=True).of_one(pixels, texts, which)
    torch.testing.assert_close(found, maps(pixels, texts)[torch.arange(3), which])
    assert not torch.allclose(found[0], maps(pixels, texts[[5, 6]])[0, 0])


def test_the_shared_pass_is_recorded_no_further_down_than_its_methods_need(vit, monkeypatch):
    from summand.maps.baselines import capture

    recorded, enter = [], capture.Capture._blocks
    monkeypatch.setattr(
        capture.Capture, "_blocks", lambda self, *given: recorded.append(self.graph_from) or enter(self, *given)
    )
    source = open_masks("scenes:count=2,seed=8,groups=2")
    for names in (["rollout", "maskclip"], ["gradcam", "maskclip"], ["gradcam", "legrad"], ["gradcam", "chefer"]):
        score(vit, source, names)
    assert recorded == [6, 5, 4, 0]  # of 6 layers; LeGrad is drawn from the last two
    assert prepare(vit, "legrad").with_options(first_layer=0).reads == 0
    assert prepare(vit, "clip-surgery").with_options(first_layer=1).reads == "pass"
