from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

import summand
from summand import Effects, Moments, SummandError
from summand.border import foreign
from summand.data.labelled import Labelled, open_labelled
from summand.studies.debias.groups import check_groups, group_accuracy, with_shares
from summand.studies.debias.repair import repair
from summand.studies.debias.spurious import Suspect, by_property, choose, described, in_words
from summand.studies.debias.suspects import found_neurons, head_moments
from summand.studies.zeroshot import attribute_classes, classifier
from summand.text.labels import HeadLabel
from tests.border import open_clip
from tests.studies.pictures import Noise, Unread, labelled, pixels
from tests.tiny import clip


@pytest.fixture(scope="module")
def tiny():
    model = clip(vision={"layers": 3})
    return summand.wrap(model, preprocess=pixels, tokenizer=open_clip.SimpleTokenizer(context_length=16))


def test_group_accuracies_are_those_of_a_group_by():
    data, rng = labelled(200), np.random.default_rng(5)
    guesses = rng.integers(0, 3, 200)
    shares = np.array([[0.5, 0.1], [0.1, 0.1], [0.1, 0.1]])
    data = Labelled(data.source, data.classes, data.labels, data.values, data.groups, shares)
    found = group_accuracy(data, guesses)
    frame = pd.DataFrame({"y": data.labels, "g": data.groups, "right": guesses == data.labels})
    expected = frame.pivot_table("right", "y", "g").to_numpy()
    np.testing.assert_allclose(found.accuracy, expected)
    assert found.worst == expected.min()
    assert found.weighted == pytest.approx((expected * shares).sum())
    assert found.mean == pytest.approx(frame["right"].mean())
    assert found.lowest(0.34) == pytest.approx(np.sort(expected.ravel())[:2].mean())
    row, column = found.worst_group
    assert found.accuracy[data.classes.index(row), data.values.index(column)] == found.worst


def planted(strength: dict[int, tuple[float, float]], writes: torch.Tensor | None = None, images: int = 400) -> Moments:
    """Six heads of two channels: one channel writes along the attribute (axis 0), the other along the classes (1)."""
    rng = torch.Generator().manual_seed(0)
    coefficients = torch.randn(images, 2, 3, 2, generator=rng)
    for head in range(6):
        coefficients[:, head // 3, head % 3] *= torch.tensor(strength.get(head, (0.05, 0.05)))
    directions = (torch.eye(4)[:2] if writes is None else writes).expand(2, 3, 2, 4)
    return Moments().update(Effects(coefficients, directions, ("layer", "head"), ("channel",)))


def test_the_heads_that_vary_along_the_attribute_are_found():
    axes = torch.eye(4)
    attribute, classes = torch.stack([axes[0], -axes[0]]) + axes[2], torch.stack([axes[1], -axes[1]]) + axes[3]
    moments = planted({1: (2.0, 0.5), 3: (1.0, 3.0), 5: (1.5, 0.1)})
    found = choose(moments, attribute, classes, [8, 9])
    assert [suspect.unit for suspect in found] == [(8, 1), (9, 2)]  # 9.0 varies more along the classes
    # 9.2 varies along the attribute less than along any other direction: it is about something else.
    elsewhere = planted({1: (2.0, 0.5), 5: (1.5, 9.0)}, torch.eye(4)[[0, 2]])
    assert [suspect.unit for suspect in choose(elsewhere, attribute - axes[2], classes, [8, 9])] == [(8, 1)]
    first = found[0]
    assert first.attribute == pytest.approx(4 / 4.25, abs=0.02)
    assert first.classes == pytest.approx(0.25 / 4.25, abs=0.02)
    assert first.carries == pytest.approx(4 / 7.25, abs=0.05)
    assert len(choose(moments, attribute, classes, [8, 9], cover=0.3)) == 1
    (named,) = described(found[1:], moments, [8, 9], ["along the classes", "along the attribute"], axes[[1, 0]])
    assert named.texts[0] == "along the attribute"
    assert "removed: 95 % of its variance lies along place and 5.2 % along shapes" in in_words(first, "place", "shapes")
    with pytest.raises(SummandError, match="none to remove"):
        choose(planted(dict.fromkeys(range(6), (0.1, 2.0))), attribute, classes, [8, 9])
    with pytest.raises(SummandError, match="at least two texts of the attribute"):
        choose(moments, attribute[:1], classes, [8, 9])
    with pytest.raises(SummandError, match="all alike"):
        choose(moments, attribute[[0, 0]], classes, [8, 9])


def test_heads_are_found_by_what_their_labels_say():
    def label(layer, head, *texts):
        return HeadLabel(layer, head, texts, tuple(0.2 * (i + 1) for i in range(len(texts))), 0.1, (0,) * len(texts))

    labels = [
        label(4, 0, "a photo of the sea", "a picture taken in the snow", "a photo of a forest"),
        label(5, 1, "a star", "a photo of a ring", "a heart"),
        label(5, 2, "red velvet", "red paint", "the sky"),
    ]
    assert [found.unit for found in by_property(labels, "place")] == [(4, 0)]
    (red,) = by_property(labels, "red")
    assert red.unit == (5, 2)
    assert "head 5.2 was removed because its label fits 'red' (red velvet, red paint). Its texts: red velvet, red" in (
        in_words(red, "place", "shapes")
    )
    with pytest.raises(SummandError, match="no head is labelled 'musical'; properties here: colour, place, shape"):
        by_property(labels, "musical")
    named = Suspect((5, 1), float("nan"), float("nan"), float("nan"))
    assert in_words(named, "place", "shapes") == "head 5.1 was removed because it was named."


def test_repair_is_mean_ablation_with_a_control_and_a_patched_classifier(tiny, tmp_path):
    data = labelled(60)
    weights = F.normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(3)), dim=1)
    made = repair(tiny, data, weights, [(1, 0), (2, 1)], layers=range(3), draws=4, batch_size=16)
    x = torch.stack([pixels(data.source.image(i)) for i in range(60)])
    outputs, heads = tiny.encode_image(x), tiny.decompose(x).heads()
    removed = heads[:, 1, 0] + heads[:, 2, 1]
    removed = removed - removed.mean(dim=0)
    guesses = ((outputs - removed) @ weights.T).argmax(dim=1).numpy()
    np.testing.assert_allclose(made.after.accuracy, group_accuracy(data, guesses).accuracy)
    torch.testing.assert_close(made.ablation.apply(tiny).encode_image(x), outputs - removed, rtol=1e-3, atol=1e-3)
    assert len(made.random) == 4
    # The linear estimate of what was removed: least squares of the centred outputs, up to a small ridge.
    centred = (outputs - outputs.mean(dim=0)).double()
    fitted = centred @ torch.linalg.lstsq(centred, removed.double()).solution
    patched = outputs @ made.classifier.weights.float().T + made.classifier.bias.float()
    error = patched.double() - (outputs.double() - fitted) @ weights.double().T
    assert float(error.abs().max()) < 0.05 * float((fitted @ weights.double().T).abs().max())
    np.testing.assert_allclose(made.patched.accuracy, group_accuracy(data, patched.argmax(dim=1).numpy()).accuracy)
    made.classifier.save(str(tmp_path / "c.npz"))
    with np.load(tmp_path / "c.npz", allow_pickle=False) as file:
        np.testing.assert_allclose(file["weights"], made.classifier.weights, atol=1e-6)
        assert list(file["names"]) == list(data.classes)


def test_neurons_are_removed_by_their_second_order_effects(tiny):
    data = labelled(40)
    weights = F.normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(4)), dim=1)
    chosen = [(0, neuron) for neuron in range(0, 120, 2)]
    made = repair(tiny, data, weights, chosen, neurons=True, draws=2)
    x = torch.stack([pixels(data.source.image(i)) for i in range(40)])
    effect = tiny.second_order(x, 0).vectors()[:, 0:120:2].sum(dim=1)
    expected = tiny.encode_image(x) - effect + effect.mean(dim=0)
    guesses = (expected @ weights.T).argmax(dim=1).numpy()
    np.testing.assert_allclose(made.after.accuracy, group_accuracy(data, guesses).accuracy)
    torch.testing.assert_close(made.ablation.apply(tiny).encode_image(x), expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(SummandError, match="of one layer"):
        repair(tiny, data, weights, [(0, 1), (1, 1)], neurons=True)
    with pytest.raises(SummandError, match="has neurons 0 to 127, not 128"):
        repair(tiny, data, weights, [(0, 128)], neurons=True)
    left = repair(tiny, data, weights, [(2, 0), (1, 0), (1, 1)], layers=[1, 2])
    assert left.drawn == (((2, 1),),)  # the one other is drawn, once


def test_a_layer_without_neurons_is_refused_before_an_image_is_read(tiny, resnet):
    axes, data = torch.eye(16), labelled(12)
    data = replace(data, source=Unread(12))
    for model, layer, said in ((tiny, 2, "no attention comes after layer 2"), (resnet, 0, "of a transformer")):
        with pytest.raises(SummandError, match=said):
            found_neurons(model, data.source, axes[:2], axes[2:4], layer)
        with pytest.raises(SummandError, match=said):
            repair(model, data, axes[:3], [(layer, 1)], neurons=True)


def test_groups_must_be_there():
    data = labelled(12)
    with pytest.raises(SummandError, match="have no groups; give groups="):
        check_groups(Labelled(data.source, data.classes, data.labels), False)
    with pytest.raises(SummandError, match="the same value of the second attribute, 'left'"):
        check_groups(Labelled(Noise(4), ("a", "b"), np.array([0, 1, 0, 1]), ("left", "right"), np.zeros(4, int)), False)
    sparse = Labelled(Noise(3), ("a", "b"), np.array([0, 1, 0]), ("left", "right"), np.array([0, 1, 1]))
    with pytest.raises(SummandError, match="1 group"):
        check_groups(sparse, False)
    check_groups(sparse, True)


def test_groups_without_training_images_are_named():
    data = Labelled(Noise(4), ("a", "b"), np.array([0, 1, 0, 1]), ("left", "right"), np.array([0, 1, 1, 0]))
    training = replace(data, labels=np.array([0, 0, 1, 1]), groups=np.array([0, 0, 0, 0]))
    found = group_accuracy(with_shares(data, training), np.array([0, 0, 1, 0]))
    assert found.unweighted == [("a", "right"), ("b", "right")]
    assert found.weighted == pytest.approx(0.5)  # 1 and 0 of the two groups on the left
    alone = replace(data, labels=data.labels[:2], groups=data.groups[:2])
    with pytest.raises(SummandError, match="no mix to weight them by"):
        with_shares(alone, replace(data, labels=np.array([0, 1]), groups=np.array([1, 0])))


@pytest.mark.slow
def test_the_tied_model_takes_the_place_for_the_shape_and_is_repaired():
    """Found on unlabelled scenes of its own, tied world; measured on scenes where place and shape are independent."""
    model = summand.load("scenes-vit-tied")
    data = open_labelled("scenes:count=300,seed=31", "shape", groups="place")
    unlabelled = open_labelled("scenes:count=120,seed=32,tie=shape/place/0.95", "shape").source
    weights, places = (classifier(model, attribute_classes(model.world, name)) for name in ("shape", "place"))
    moments, layers = head_moments(model, unlabelled)
    units = [suspect.unit for suspect in choose(moments, places, weights, layers)]
    made = repair(model, data, weights, units, means=unlabelled, draws=3)
    tied = data.labels % 8 == data.groups
    right = made.runs.guesses == data.labels
    before, after = right[0], right[1]
    assert before[tied].mean() > before[~tied].mean() + 0.05
    assert after[~tied].mean() > before[~tied].mean() + 0.02
    assert made.after.lowest(0.25) > max(found.lowest(0.25) for found in made.random)


def test_the_papers_control_takes_ten_heads_and_its_code_ablates_the_rest():
    model = summand.wrap(
        clip(vision={"layers": 6, "width": 64}),
        preprocess=pixels,
        tokenizer=open_clip.SimpleTokenizer(context_length=16),
    )
    data = labelled(60)
    weights = F.normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(7)), dim=1)
    found = repair(model, data, weights, [(5, 1), (4, 0)], draws=3, seed=2, parity="paper")
    assert [len(set(units)) for units in found.drawn] == [10, 10, 10]
    assert {layer for units in found.drawn for layer, _ in units} <= {2, 3, 4, 5}
    parts = model.decompose(torch.stack([pixels(data.source.image(i)) for i in range(60)]))
    heads, others = parts.heads(), parts.mlps().sum(dim=1) + parts.embedding()
    for place, units in enumerate([[(5, 1), (4, 0)], *found.drawn]):  # the released script, on the terms themselves
        ablated = heads.clone()
        for layer, head in units:
            ablated[:, layer, head] = heads[:, layer, head].mean(dim=0)
        ablated[:, :2] = heads[:, :2].mean(dim=0)
        outputs = ablated.sum(dim=(1, 2)) + others.mean(dim=0) + parts.bias()
        np.testing.assert_array_equal(found.runs.guesses[1 + place], (outputs @ weights.T).argmax(dim=1))
    best = max(group_accuracy(data, guesses).worst for guesses in found.runs.guesses[2:5])
    assert found.best_random.worst == best  # the top of the trials
    assert foreign(found.ablation).heads == ((5, 1), (4, 0))
    few = repair(model, data, weights, [(5, 1), (4, 0)], draws=2, control=3)
    assert [len(set(units)) for units in few.drawn] == [3, 3]
    plain = repair(model, data, weights, [(5, 1), (4, 0)], draws=2)
    assert [len(set(units)) for units in plain.drawn] == [2, 2]
    most = repair(model, data, weights, [(5, 1), (4, 0)], control=23)
    assert [len(set(units)) for units in most.drawn] == [22]  # as many others as there are, once
    for wrong, said in (
        ({"neurons": True, "parity": "paper"}, "give heads, not neurons"),
        ({"control": 0}, "at least one unit, got 0"),
    ):
        with pytest.raises(SummandError, match=said):
            repair(model, data, weights, [(5, 1), (4, 0)], **wrong)
