from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import summand
from summand import Moments, SummandError
from summand.border import foreign
from summand.data import open_source
from summand.effects.autoencoder import Autoencoder
from summand.models.ablations import Ablation
from summand.scenes import ATTRIBUTES
from summand.studies.shift.compare import compare
from summand.studies.shift.concepts import Concepts, concepts
from summand.studies.shift.readings import Measured, Readings, measure
from summand.studies.shift.reference import Reference, make_reference
from summand.studies.shift.scores import concept_units
from summand.studies.shift.series import column_of, compare_by, over_batches
from summand.studies.shift.statistics import kolmogorov_smirnov, mmd, point_biserial, standardised_difference
from summand.survey import Group
from summand.survey.profile import profile
from summand.survey.units import effects_of
from summand.text.pools import pool
from tests.border import stats
from tests.commands import command
from tests.studies.pictures import Unread
from tests.studies.results import again, assert_page, assert_whole, close, same

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(vit) -> Reference:
    return make_reference(vit, open_source("scenes:count=240,seed=1"), pool("scenes"))


@pytest.fixture(scope="module")
def shifted(vit, reference):
    return measure(vit, open_source("scenes:count=120,seed=2,shift=place/sea/0.5"), reference.readings)


@given(st.integers(0, 10_000), st.integers(8, 140), st.integers(8, 140), st.booleans())
def test_kolmogorov_smirnov_is_scipys(seed, n, m, ties):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 3)), rng.normal(0.4, 1.3, size=(m, 3))
    if ties:
        a, b = a.round(), b.round()
    distance, p = kolmogorov_smirnov(a, b)
    for column in range(3):
        method = "exact" if n * m <= 10_000 else "asymp"
        theirs = stats.ks_2samp(a[:, column], b[:, column], method=method)
        assert distance[column] == pytest.approx(theirs.statistic)
        assert p[column] == pytest.approx(theirs.pvalue, abs=1e-9)


def test_kolmogorov_smirnov_keeps_its_level_for_the_fewest_images(rng):
    _, p = kolmogorov_smirnov(rng.normal(size=(8, 4000)), rng.normal(size=(8, 4000)))
    assert np.mean(p <= 0.05) <= 0.05
    _, p = kolmogorov_smirnov(np.zeros((8, 1)), np.ones((8, 1)))
    assert p[0] == pytest.approx(2 / 12870)  # two of the 16! / 8!² orders are as far apart


def test_mmd_is_the_double_sum_and_its_p_is_uniform_without_a_shift(rng):
    a, b = rng.normal(size=(12, 3)), rng.normal(0.5, 1, size=(9, 3))
    both = np.concatenate([a, b])
    squares = [np.sum((x - y) ** 2) for i, x in enumerate(both) for y in both[i + 1 :]]

    def kernel(x, y):
        return np.exp(-np.sum((x - y) ** 2) / np.median(squares))

    def mean(first, second):
        return np.mean([kernel(x, y) for x in first for y in second])

    value, p = mmd(a, b, permutations=99)
    assert value == pytest.approx(mean(a, a) + mean(b, b) - 2 * mean(a, b), rel=1e-4)
    assert 0.01 <= p <= 1
    found = [mmd(rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), 39, seed)[1] for seed in range(60)]
    assert 0.35 < np.mean(found) < 0.65
    assert mmd(rng.normal(size=(40, 2)), rng.normal(2, 1, size=(40, 2)), 199)[1] == 1 / 200
    assert mmd(a, b, 99, seed=3) == mmd(a, b, 99, seed=3)


def test_mmd_draws_more_permutations_only_where_a_smaller_level_can_be_reached(rng):
    a, far, near = rng.normal(size=(40, 2)), rng.normal(3, 1, size=(40, 2)), rng.normal(size=(40, 2))
    assert mmd(a, far, 19, level=0.001)[1] == 1 / 1001
    assert mmd(a, near, 19, level=0.001) == mmd(a, near, 19)


def test_effect_and_point_biserial(rng):
    a = rng.normal(size=(500, 1))
    assert standardised_difference(a, 2 * a.std() + a)[0] == pytest.approx(2)
    scores, truth = rng.normal(size=300), rng.random(300) < 0.3
    assert point_biserial(scores, truth) == pytest.approx(stats.pointbiserialr(truth, scores).statistic)
    assert point_biserial(scores, np.zeros(300)) == 0


def test_readings_are_effects_along_concepts(vit, reference):
    scenes = summand.scenes.sample(4, seed=1)
    heads = vit.decompose(vit.preprocess(scenes.images)).heads().double()
    readings, directions = reference.readings, reference.concepts.directions
    for column in range(0, len(readings.units), 17):
        layer, head = readings.units[column]
        expected = heads[:, layer, head] @ directions[readings.concepts[column]]
        assert reference.measured.readings[:4, column] == pytest.approx(foreign(expected).numpy(), abs=1e-5)


def test_concepts_are_the_values_of_the_scenes(vit):
    found = concepts(vit, pool("scenes"))
    assert len(found.names) == sum(map(len, ATTRIBUTES.values()))
    assert {(name, value) for name, value in zip(found.properties, found.values, strict=True)} == {
        (attribute, str(value)) for attribute, values in ATTRIBUTES.items() for value in values
    }
    assert found.directions[found.of("colour")].sum(dim=0).abs().max() < 1e-6
    words = concepts(vit, pool(["a red object", "a blue object", "a scene"]))
    assert words.properties == ("colour", "colour", None)
    assert words.values[2] is None


def test_a_shift_is_found_and_named(reference, shifted):
    result = compare(reference, shifted)
    assert result.alarm
    assert (result.rows[0].attribute, result.rows[0].value) == ("place", "sea")
    assert result.rows[0].effect > 0.5
    assert result.mmd_p <= 0.005
    strengths = [row.strength for row in result.rows]
    assert strengths == sorted(strengths, reverse=True)
    assert all(row.p <= row.q for row in result.rows)


def test_no_shift_no_alarm(vit, reference):
    same = measure(vit, open_source("scenes:count=120,seed=3"), reference.readings)
    result = compare(reference, same)
    assert not result.alarm
    assert not result.changed


def test_a_saved_reference_gives_the_same_answer_without_images(reference, shifted, vit, resnet, tmp_path, unchecked):
    reference.save(tmp_path / "r.npz")
    loaded = Reference.load(tmp_path / "r.npz")
    loaded.check(vit)
    first, second = compare(reference, shifted), compare(loaded, shifted)
    assert [row.concept for row in first.rows[:3]] == [row.concept for row in second.rows[:3]]
    assert second.rows[0].p == pytest.approx(first.rows[0].p, rel=1e-6)
    with pytest.raises(summand.SummandError, match="made with the model scenes-vit, and this is scenes-rn"):
        loaded.check(resnet)
    broken = replace(reference, measured=replace(reference.measured, readings=reference.measured.readings * np.nan))
    broken.save(tmp_path / "nan.npz")
    with pytest.raises(summand.SummandError, match="NaN"):
        Reference.load(tmp_path / "nan.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(summand.SummandError, match="no file of shift reference"):
        Reference.load(tmp_path / "text.npz")


def test_a_reference_knows_what_is_ablated(reference, vit, pixels, tmp_path, unchecked):
    means = Moments().update(vit.decompose(pixels).head_effects()).mean
    Ablation.of(vit, [(5, 0)], means).save(tmp_path / "a.npz")
    ablated = summand.load("scenes-vit", ablation=tmp_path / "a.npz")
    with pytest.raises(summand.SummandError, match="model scenes-vit, and this is scenes-vit, 1 heads ablated"):
        reference.check(ablated)
    make_reference(ablated, open_source("scenes:count=20,seed=1"), pool("scenes")).save(tmp_path / "r.npz")
    loaded = Reference.load(tmp_path / "r.npz")
    loaded.check(summand.load("scenes-vit", ablation=tmp_path / "a.npz"))
    with pytest.raises(summand.SummandError, match="scenes-vit, 1 heads ablated, and this is scenes-vit: units"):
        loaded.check(vit)
    for other in (Ablation.of(vit, [(5, 1)], means), Ablation.of(vit, [(5, 0)], means * 2)):
        with pytest.raises(summand.SummandError, match="what is ablated in it, are others now"):
            loaded.check(other.apply(vit))
    found = command("shift", tmp_path / "r.npz", "scenes:count=20")
    assert "made with the model scenes-vit, 1 heads ablated, and this is scenes-vit" in found.error


def test_bad_input(reference, shifted, vit, unchecked):
    few = shifted.rows(np.arange(5))
    with pytest.raises(summand.SummandError, match="has 5 image"):
        compare(reference, few)
    broken = replace(shifted, readings=np.where(np.arange(len(shifted))[:, None] == 3, np.nan, shifted.readings))
    with pytest.raises(summand.SummandError, match="current set holds NaN"):
        compare(reference, broken)
    with pytest.raises(summand.SummandError, match="permutations"):
        compare(reference, shifted, alpha=1e-7)
    with pytest.raises(summand.SummandError, match=r"between 0 and 1, got 1\.5"):
        compare_by(reference, shifted, np.zeros(120), alpha=1.5)
    with pytest.raises(summand.SummandError, match="at least 8"):
        make_reference(vit, open_source("scenes:count=4"), pool("scenes"))
    with pytest.raises(summand.SummandError, match="heads, neurons, pairs, latents, got 'tails'"):
        make_reference(vit, open_source("scenes:count=20"), pool("scenes"), "tails")


def test_neurons_and_pairs_can_be_watched(vit, resnet):
    source = open_source("scenes:count=64,seed=4")
    for model, watch, image in ((vit, "neurons", vit), (resnet, "pairs", resnet)):
        made = make_reference(model, source, pool("scenes"), watch)
        pixels = image.preprocess(summand.scenes.sample(2, seed=4).images)
        effects = effects_of([made.readings.group], model, pixels)[0][made.readings.group]
        vectors = effects.vectors().double()
        unit, weights = made.readings.units[0], made.readings.weights[0]
        # The reading is ⟨φ, r⟩, with r of unit length in the span of the unit's directions.
        r = torch.linalg.lstsq(effects.directions[unit].double(), weights[:, None]).solution[:, 0]
        assert made.measured.readings[:2, 0] == pytest.approx((vectors[:, *unit] @ r).numpy(), rel=1e-3, abs=1e-5)
        assert not compare(made, made.measured).alarm


def test_latents_can_be_watched(vit, tmp_path, unchecked):
    """Their readings are ⟨φ, r⟩; one that never fires says nothing; the reference is of this very autoencoder."""
    made = torch.Generator().manual_seed(3)
    rows, nothing = torch.randn(6, 128, generator=made), torch.zeros(128)
    bias = torch.zeros(6)
    bias[5] = -1e6
    sae = Autoencoder(3, rows.T.contiguous(), bias, rows, nothing, nothing)
    model, source = vit.with_autoencoder(sae), open_source("scenes:count=64,seed=4")
    known = make_reference(model, source, pool("scenes"), "latents")
    assert known.readings.group.name == "latents.3"
    effects = model.latents(model.preprocess(summand.scenes.sample(64, seed=4).images))
    for column, (latent,) in enumerate(known.readings.units):
        weights, directions = known.readings.weights[column].double(), effects.directions[latent].double()
        r = torch.linalg.lstsq(directions, weights[:, None]).solution[:, 0]
        along = effects.vectors()[:, latent].double() @ r
        assert float(r.norm()) == pytest.approx(float(latent != 5), rel=1e-3)
        assert known.measured.readings[:, column] == pytest.approx(along.numpy(), rel=1e-3, abs=1e-5)
        assert bool(np.ptp(known.measured.readings[:, column])) == (latent != 5)
    known.save(tmp_path / "latents.npz")
    monitor = summand.Monitor(tmp_path / "latents.npz", model=model, permutations=199)
    monitor.update("scenes:count=60,seed=2,shift=place/sea/0.8")
    report = monitor.report()
    assert report.alarm
    assert set(report.rows["unit"]) == {f"3#{latent}" for latent in range(6)}
    assert report.rows.set_index("unit")["p"]["3#5"] == 1
    other = vit.with_autoencoder(replace(sae, encoder_bias=bias + 1))
    with pytest.raises(SummandError, match="or make the reference again with this one"):
        Reference.load(tmp_path / "latents.npz").check(other)
    both = model.with_autoencoder(replace(sae, layer=2))
    with pytest.raises(SummandError, match="latents of one layer are watched at a time: latents:2 or latents:3"):
        summand.shift("scenes:count=20,seed=1", "scenes:count=20,seed=2", both, units="latents")
    with pytest.raises(SummandError, match="latents are those of a sparse autoencoder"):
        summand.shift("scenes:count=20,seed=1", "scenes:count=20,seed=2", vit, units="latents")


def test_paper_bs_score_is_the_ratio_of_norms_and_knows_colours(resnet):
    known = concepts(resnet, pool("scenes"))
    row = [i for i, value in enumerate(known.values) if value == "yellow"]
    found = concept_units(resnet, known.directions[row], ["yellow"])
    scenes = summand.scenes.sample(160, seed=6)
    pixels = resnet.preprocess(scenes.images)
    scores = torch.cat([found.scores(resnet, some) for some in pixels.split(80)])[:, 0]
    effects = resnet.pairs(pixels[:3])
    vectors = effects.vectors().double()
    top = vectors[:, *found.chosen[0].T].sum(dim=1).norm(dim=1)
    assert scores[:3].numpy() == pytest.approx((top / vectors.sum(dim=(1, 2)).norm(dim=1)).numpy(), rel=1e-4)
    assert point_biserial(scores.numpy(), (scenes.attributes["colour"] == "yellow").to_numpy()) > 0.3
    assert len(found.names[0]) == 5


def test_scores_of_neurons_are_projections(vit):
    made = profile(vit, open_source("scenes:count=40,seed=5"), [Group("neurons", 3)])
    direction = vit.encode_text("a red object") - vit.encode_text("a blue object")
    found = concept_units(vit, direction, ["red"], made)
    pixels = vit.preprocess(summand.scenes.sample(3, seed=8).images)
    vectors = vit.second_order(pixels, 3).vectors().double()
    r, b = made.ranks[0].directions, made.ranks[0].offsets
    best = (r @ direction[0].double()).topk(5).indices
    expected = sum((vectors[:, n] - b[n]) @ r[n] for n in best.tolist())
    assert found.scores(vit, pixels)[:, 0].numpy() == pytest.approx(foreign(expected).numpy(), abs=1e-5)


def test_scores_of_neurons_of_several_layers_are_those_of_each(vit):
    groups = [Group("neurons", 4), Group("neurons", 2)]
    both = profile(vit, open_source("scenes:count=40,seed=5"), groups)
    directions = vit.encode_text(["a red object", "a star"]) - vit.encode_text("a blue object")
    found = concept_units(vit, directions, ["red", "star"], both)
    pixels = vit.preprocess(summand.scenes.sample(3, seed=8).images)
    along = both.projections(vit, pixels)
    names = [unit.name for unit in both.units]
    assert set(found.chosen[..., 0].flatten().tolist()) == {2, 4}
    for i, some in enumerate(found.names):
        expected = along[:, [names.index(name) for name in some]].sum(dim=1)
        torch.testing.assert_close(found.scores(vit, pixels)[:, i], expected)


@pytest.mark.parametrize("which", ["vit", "resnet"])
def test_named_concepts_are_saved_with_the_reference(which, request, tmp_path):
    model = request.getfixturevalue(which)
    asked = ["a photo of the sea", "a star"]
    made = make_reference(model, open_source("scenes:count=80,seed=4"), pool("scenes"), named=asked)
    made.save(tmp_path / "r.npz")
    current = open_source("scenes:count=60,seed=5,shift=place/sea/0.8")
    rows = Reference.load(tmp_path / "r.npz").named.compare(model, current)
    assert rows == made.named.compare(model, current)
    assert [row["concept"] for row in rows] == asked
    first, second = (made.named.units.measure(model, open_source(s)) for s in ("scenes:count=80,seed=4", current.label))
    for i, row in enumerate(rows):
        assert row["p"] == pytest.approx(min(1, 2 * stats.ks_2samp(first[:, i], second[:, i]).pvalue), rel=1e-6)
        assert row["current"] - row["reference"] == pytest.approx(float(second[:, i].mean() - first[:, i].mean()))
    assert rows[0]["p"] < 0.01
    assert rows[0]["effect"] > 0.5 > abs(rows[1]["effect"])
    plain = make_reference(model, open_source("scenes:count=20,seed=4"), pool("scenes"))
    plain.save(tmp_path / "plain.npz")
    assert Reference.load(tmp_path / "plain.npz").named is None


def refused(*arguments: str) -> str:
    """What the command line says as it refuses."""
    found = command("shift", *arguments)
    assert found.code == 2
    return " ".join(found.error.split())


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--alpha", "1.5", "between 0 and 1, got 1.5"),
        ("--alpha", "nan", "between 0 and 1, got nan"),
        ("--alpha", "1e-7", "needs 20,000,000 permutations"),
        ("--units", "neurons:-1", "expected a layer or a range of layers"),
        ("--units", "neurons:1-2", "--units must be heads, neurons, pairs or latents, of one layer"),
        ("--units", "heads,pairs", "--units must be heads, neurons, pairs or latents, of one layer"),
        ("--count", "0", "--count must be at least 1"),
        ("--protocol", "own", 'Choose from: "paper"'),
        ("--protocol", "paper", "name it as --concept TEXT"),
        ("--by", "month", "--by groups the current images"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_read(unchecked, option, value, reason):
    assert reason in refused("nowhere", "--save-reference", "r.npz", option, value)


def test_what_does_not_go_together_is_refused_in_python_too(unchecked):
    for options, reason in (
        ({"protocol": "own"}, "protocol must be 'paper' or be left out"),
        ({"units": "neurons", "layers": "4"}, "layers must be left out"),
        ({"save_reference": "r.csv"}, r"save_reference must be a file that ends in \.npz"),
        ({}, "give two sets of images, or one and save_reference=FILE"),
    ):
        with pytest.raises(summand.SummandError, match=reason):
            summand.shift("nowhere", **options)


def test_units_that_a_tower_does_not_have_are_refused_before_an_image_is_read(vit, resnet, unchecked):
    unread = Unread(20)
    with pytest.raises(summand.SummandError, match="no attention comes after layer 5"):
        make_reference(vit, unread, pool("scenes"), "neurons", layer=5)
    with pytest.raises(summand.SummandError, match="attention pool"):
        make_reference(vit, unread, pool("scenes"), "pairs")
    with pytest.raises(summand.SummandError, match="transformer"):
        make_reference(resnet, unread, pool("scenes"), "neurons")


def test_series_over_a_column(reference, shifted):
    source = open_source("scenes:count=120,seed=2,shift=place/sea/0.5")
    values = column_of(source, source.label, "place")
    rows, small = over_batches(reference, shifted, values)
    sea = next(row for row in rows if row["batch"] == "sea")
    assert sea["alarm"]
    assert (sea["attribute"], sea["value"]) == ("place", "sea")
    assert sum(row["images"] for row in rows) + sum(int(text.split("(")[1][:-1]) for text in small) == 120
    with pytest.raises(summand.SummandError, match="did you mean 'place'"):
        column_of(source, source.label, "plase")


def _synthetic(rng, images: int) -> tuple[Reference, Measured]:
    """Four heads along two concepts, and exchangeable current images."""
    directions = torch.eye(2, 4)
    known = Concepts(("one", "two"), (None, None), (None, None), directions)
    units, columns = tuple((0, head) for head in range(4) for _ in range(2)), (0, 1) * 4

    def measured(count: int) -> Measured:
        embeddings = rng.normal(size=(count, 4))
        readings = embeddings[:, list(columns)] + rng.normal(size=(count, 8))
        return Measured(readings, embeddings, np.arange(count))

    readings = Readings(Group("heads"), units, columns, torch.ones(8, 1))
    return Reference("none", "", "none", known, readings, measured(120)), measured(images)


def test_batches_and_the_whole_together_keep_the_rate_of_false_alarms(rng):
    of_batch = np.repeat(np.arange(8), 15)
    alarms = []
    for seed in range(40):
        made, current = _synthetic(rng, len(of_batch))
        result, rows, _ = compare_by(made, current, of_batch, alpha=0.1, permutations=99, seed=seed)
        alarms.append(result.alarm or any(row["alarm"] for row in rows))
        assert (result.alpha, rows[0]["alpha"]) == (0.05, 0.05 / 8)
    assert np.mean(alarms) <= 0.15


def test_a_shift_of_one_batch_is_found_among_many(rng):
    of_batch = np.repeat(np.arange(12), 15)
    made, current = _synthetic(rng, len(of_batch))
    readings, embeddings = current.readings.copy(), current.embeddings.copy()
    readings[of_batch == 5, 2] += 3
    _, rows, _ = compare_by(made, replace(current, readings=readings), of_batch, permutations=99)
    assert [row["batch"] for row in rows if row["alarm"]] == [5]
    embeddings[of_batch == 5, 3] += 3  # of no unit: only the whole sees it, with more permutations than were asked for
    _, rows, _ = compare_by(made, replace(current, embeddings=embeddings), of_batch, permutations=99)
    assert [row["batch"] for row in rows if row["alarm"]] == [5]
    assert rows[5]["mmd_p"] <= 0.01 / 2 / 12 / 2


def test_columns_of_a_table(tmp_path, unchecked):
    from PIL import Image

    for i in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    table = tmp_path / "pictures.csv"
    table.write_text("path,month\n0.png,1\n1.png,1\n2.png,2\n3.png,3\n")
    source = open_source(str(table))
    assert column_of(source, str(table), "month").tolist() == [1, 1, 2, 3]
    assert column_of(open_source(str(table), 2), str(table), "month", 2).tolist() == [1, 3]
    with pytest.raises(summand.SummandError, match="no column 'mont', did you mean 'month'"):
        column_of(source, str(table), "mont")
    table.write_text("path,month\n0.png,1\n1.png,\n")
    with pytest.raises(summand.SummandError, match="no value in row 2"):
        column_of(source, str(table), "month")
    with pytest.raises(summand.SummandError, match="by= needs a csv"):
        column_of(open_source(str(tmp_path)), str(tmp_path), "month")


@pytest.fixture
def here(tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_line(here, reference):
    def run(*arguments: str):
        return command("shift", *arguments)

    reference.save("r.npz")
    found = run("r.npz", "scenes:count=60,seed=5,shift=place/sea/0.6", "--json", "--out", "report")
    assert found.code == 1
    result = found.json
    assert (result["command"], result["alarm"], result["rows"][0]["value"]) == ("shift", True, "sea")
    assert {"unit", "concept", "p", "effect", "attribute"} <= set(result["rows"][0])
    assert len(result["rows"][0]["pictures"]) == 7
    page = (here / "report" / "index.html").read_text()
    assert "the sea" in page
    assert page.count("data:image/png") > 7
    assert json.loads((here / "report" / "result.json").read_text())["rows"] == result["rows"]
    found = run("r.npz", "scenes:count=60,seed=6", "--out", "r2.html")
    assert found.code == 0
    assert "No alarm" in found.out
    assert (here / "r2.html").is_file()
    found = run("r.npz", "scenes:count=60", "--model", "scenes-rn", "--out", "no")
    assert found.code == 2
    assert "made with the model" in found.error
    assert "Give that model as --model NAME" in found.error
    assert run("scenes:count=20").code == 2
    assert run("r.npz", "scenes:count=4", "--out", "no").code == 2
    assert not (here / "no").exists()


def test_a_saved_reference_says_the_same_as_its_images(vit, here):
    before, after = "scenes:count=40,seed=1", "scenes:count=30,seed=2,shift=place/sea/0.6"
    kept = command("shift", before, "--save-reference", "r.npz", "--concept", "a red, striped star", "--json").json
    assert (kept["rows"], kept["saved"], kept["images"]) == ([], "r.npz", {"reference": 40})
    whole = summand.shift(before, after, vit, concept="a red, striped star", permutations=99)
    later = summand.shift("r.npz", after, permutations=99)
    assert [row["concept"] for row in later.concepts] == ["a red, striped star"]
    assert later.rows["p"].to_numpy() == pytest.approx(whole.rows["p"].to_numpy(), rel=1e-6)
    assert later.mmd_p == whole.mmd_p
    for result in (whole, later, summand.shift(before, model=vit, save_reference="again.npz")):
        assert_whole(result)
        assert_whole(result, 72)
        assert_page(result)


def test_python_says_what_the_command_says(vit, here):
    some = ("scenes:count=30,seed=1", "scenes:count=30,seed=2,shift=place/sea/0.6")
    shell = (
        "--by",
        "place",
        "--layers",
        "4-5",
        "--permutations",
        "99",
        "--concept",
        "the sea",
        "--concept",
        "a star",
    )
    record = command("shift", *some, *shell, "--json").json
    result = summand.shift(*some, vit, by="place", layers="4-5", permutations=99, concept=["the sea", "a star"])
    same(record, result)
    assert {unit.split(".")[0] for unit in result.rows["unit"]} == {"4", "5"}
    assert close(again("shift", record, here), record)
    assert_whole(result)
    assert_page(result)
    assert {axes.get_xlabel() for axes in result.figure().axes} >= {"reading", "place (shaded: alarm)"}
    assert "Over place" in result.page()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--concept", "a yellow car"),
        ("--units", "heads"),
        ("--layers", "4"),
        ("--pool", "general"),
        ("--protocol", "paper"),
    ],
)
def test_what_a_saved_reference_fixes_is_refused_first(unchecked, option, value):
    said = refused("r.npz", "nowhere", option, value)
    assert f"{option} must be left out: the saved reference r.npz fixes" in said
