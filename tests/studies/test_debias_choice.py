"""Which way to repair is chosen on unlabelled images: the leak, the strength, and what comes of planted shortcuts."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import summand
from summand import SummandError
from summand.border import foreign
from summand.data.labelled import open_labelled
from summand.studies.debias.choice import choose_way, every_other
from summand.studies.debias.control import drawn_units
from summand.studies.debias.leak import independent, leak, strength, values_of
from summand.studies.debias.options import WAYS, DebiasOptions
from summand.studies.debias.repair import repair
from summand.studies.debias.spurious import choose, span
from summand.studies.debias.suspects import head_moments
from summand.studies.zeroshot import attribute_classes, classifier
from tests.studies.pictures import Noise

pytestmark = pytest.mark.slow

TRAIN = "scenes:count=400,seed=42,tie=shape/place/0.95"


@pytest.fixture(scope="module")
def tied():
    return summand.load("scenes-vit-tied")


@pytest.fixture(scope="module")
def plain():
    return summand.load("scenes-vit")


def texts(model, plant=0.0):
    """Of shapes and places; plant: how far each shape's text is moved to that of its usual place."""
    shapes, places = (classifier(model, attribute_classes(model.world, name)) for name in ("shape", "place"))
    usual = places[torch.arange(len(shapes)) % len(places)] - places.mean(dim=0)
    return shapes + plant * usual, places


def chosen(model, plant=0.0, source=TRAIN):
    shapes, places = texts(model, plant)
    images = open_labelled(source, "shape").source
    moments, layers = head_moments(model, every_other(images))
    heads = [suspect.unit for suspect in choose(moments, places, shapes, layers)]
    return choose_way(model, images, heads, span(places, "place"), places, shapes), heads


def test_the_tied_models_shortcut_is_in_its_heads_and_more_than_them_follows(tied):
    choice, _ = chosen(tied)
    assert choice.way == "measured"
    assert 1.1 < choice.strength < 1.8
    assert choice.leaks["measured"] < choice.leaks["units"] < 0.6 * choice.leaks["before"]
    assert choice.leaks["text-axis"] > 0.9 * choice.leaks["before"]  # the places' texts hold no shape
    assert choice.images == 200


def test_a_model_without_the_shortcut_is_left_alone(plain, tmp_path):
    for source in (TRAIN, "scenes:count=300,seed=43"):
        choice, _ = chosen(plain, source=source)
        assert choice.way is None
        assert abs(choice.strengths["units"][0]) < 2.58 * choice.strengths["units"][1]
    made = summand.debias(plain, "scenes:count=60,seed=3", TRAIN, classes="shape", groups="place", allow_empty=True)
    assert made.way is None
    assert made.ablation is None
    assert made.model is plain
    pd.testing.assert_series_equal(made.rows["after"], made.rows["before"], check_names=False)
    assert "no shortcut found" in " ".join(made.notes)
    assert made.removed == []
    assert set(made.ways) == set(WAYS)  # all are shown, none is taken
    with pytest.raises(SummandError, match="no shortcut was found"):
        made.save(tmp_path / "nothing.npz")


def test_a_shortcut_in_the_texts_is_projected_away(plain):
    """Classes whose texts lean to those of their usual places: the one cure is the texts' axis."""
    choice, _ = chosen(plain, plant=0.3)
    assert choice.way in ("terms-axis", "text-axis")
    assert choice.leaks[choice.way] < 0.5 * choice.leaks["before"]
    assert choice.leaks[choice.way] <= min(choice.leaks[way] for way in ("units", "units-axis"))


def test_every_way_is_what_its_saved_edit_does(tied, tmp_path):
    shapes, places = texts(tied)
    data = open_labelled("scenes:count=30,seed=44", "shape", groups="place")
    axes, heads = span(places, "place"), [(5, 0), (3, 0)]
    pixels = tied.preprocess(foreign(data.source).array(0, 30))
    for way in WAYS:
        made = repair(tied, data, shapes, heads, axes=axes, way=way, strength=1.4, draws=1)
        made.ablation.save(tmp_path / "repair.npz")
        again = summand.load("scenes-vit-tied", ablation=tmp_path / "repair.npz")
        guesses = (again.encode_image(pixels) @ shapes.T).argmax(dim=1).numpy()
        right = pd.DataFrame({"c": data.labels, "g": data.groups, "right": guesses == data.labels})
        for (label, group), share in foreign(right.groupby(["c", "g"]))["right"].mean().items():
            assert made.after.accuracy[label, group] == pytest.approx(share)
        assert again.decompose(pixels[:4]).residual() < 1e-5
        np.testing.assert_array_equal(made.after.accuracy, made.ways[way].accuracy)


def test_units_may_be_all_there_are(tied):
    """No control can be drawn beside every head; few others are drawn each once."""
    shapes, _ = texts(tied)
    data = replace(open_labelled("scenes:count=40,seed=44", "shape", groups="place"))
    every = [(layer, head) for layer in range(6) for head in range(8)]
    none = repair(tied, data, shapes, every, draws=3)
    assert (none.random, none.best_random) == ((), None)
    assert all(np.isnan(row["random"]) for row in none.rows())
    most = repair(tied, data, shapes, every[2:], draws=3)
    assert [set(units) for units in most.drawn] == [set(every[:2])]


@given(others=st.integers(0, 6), size=st.integers(1, 8), draws=st.integers(0, 12), seed=st.integers(0, 3))
def test_controls_are_drawn_or_counted_out(others, size, draws, seed):
    units = [(0, head) for head in range(others)]
    found = drawn_units(units, size, draws, seed)
    possible = list(combinations(units, min(size, others))) if others else []
    assert all(len(set(some)) == min(size, others) and set(some) <= set(units) for some in found)
    if len(possible) <= draws:
        assert sorted(map(tuple, found)) == possible
    else:
        assert len(found) == draws


@given(st.integers(0, 10_000), st.floats(-1.5, 2.5))
@settings(max_examples=25, deadline=None)
def test_a_planted_strength_is_found_however_class_and_value_go_together(seed, planted):
    """z = class + planted · r + noise, r of the value: the class is held, and weights undo the tie."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 4, (3000,), generator=generator)
    other = torch.randint(0, 4, (3000,), generator=generator)
    tied = torch.rand(3000, generator=generator) < 0.8
    values = torch.where(tied, classes, other)
    of_class, of_value = (torch.randn(4, 4, generator=generator).double() for _ in range(2))
    removed = of_value[values] + 0.1 * torch.randn(3000, 4, generator=generator)
    scores = of_class[classes] + planted * removed + 0.3 * torch.randn(3000, 4, generator=generator)
    weights = independent(classes, values)
    found, error = strength(scores, removed, classes, weights)
    assert abs(found - planted) < 6 * error
    before, after = (leak(each, classes, values, weights) for each in (scores, scores - planted * removed))
    assert after < 0.05
    assert after <= before + 0.01
    table = pd.crosstab(classes.numpy(), values.numpy(), weights.numpy(), aggfunc="sum").fillna(0)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.to_numpy().sum()
    np.testing.assert_allclose(table, expected, rtol=1e-6)


def test_few_images_leak_what_many_do():
    """η² of a normal model against its estimate from 40 images: right on average."""
    generator = torch.Generator().manual_seed(0)
    of_class, of_value = torch.eye(3).double() * 3, torch.randn(5, 3, generator=generator).double() * 0.3
    of_value = of_value - of_value.mean(dim=0) - (of_value - of_value.mean(dim=0)).mean(dim=1, keepdim=True)
    exact = float(of_value.square().sum() / 5 / ((of_class - of_class.mean(dim=0)).square().sum() / 3))
    found: dict[bool, list[float]] = {True: [], False: []}
    for moves in (True, False):
        for _ in range(400):
            classes, values = (torch.randint(0, count, (40,), generator=generator) for count in (3, 5))
            noise = torch.randn(40, 3, generator=generator).double()
            scores = of_class[classes] + moves * of_value[values] + noise
            found[moves].append(leak(scores, classes, values, torch.ones(40).double()))
    for moves, expected in ((True, exact), (False, 0.0)):
        error = np.std(found[moves]) / 20
        assert abs(np.mean(found[moves]) - expected) < 4 * error + 0.15 * exact
    assert np.mean(found[False]) < 0.2 * exact
    alone = torch.tensor([0, 1, 1, 1, 1, 1])
    scores = torch.randn(6, 2, generator=generator).double()
    assert np.isfinite(leak(scores, torch.tensor([0, 0, 0, 1, 1, 1]), alone, torch.ones(6).double()))


def test_values_are_read_by_the_texts():
    attribute = torch.tensor([[1.0, 0, 5], [0, 1.0, 5]])
    outputs = torch.tensor([[3.0, 0, 1], [2.0, 0, 9], [0, 4.0, 2], [-1, 3.0, 0]])
    assert values_of(outputs, attribute).tolist() == [0, 0, 1, 1]


def test_every_other_image():
    source = Noise(7)
    half = every_other(source)
    assert [half.name(i) for i in range(len(half))] == ["noise 0", "noise 2", "noise 4", "noise 6"]
    assert half.image(1).tobytes() == source.image(2).tobytes()


@pytest.mark.usefixtures("unchecked")
def test_ways_that_do_not_go_together_are_named():
    for wrong, said in (
        ({"way": "all"}, "must be one of units, measured"),
        ({"way": "text-axis", "units": "5.0"}, "text-axis needs the attribute's values as texts"),
        ({"way": "measured", "units": "neurons:4"}, "measured is of heads"),
    ):
        with pytest.raises(SummandError, match=said):
            DebiasOptions(**wrong)
