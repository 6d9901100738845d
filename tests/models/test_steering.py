"""Steered models against the definition M'(x) = M(x) + Σ_u (k_u − 1) φ_u(x), each φ taken from the plain model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import summand
from summand import Moments, SummandError, Unit
from summand.models.ablations import Ablation, NeuronAblation, load_ablation
from tests.counting import Passes
from tests.tiny import clip


@pytest.fixture(scope="module")
def tiny():
    return summand.wrap(clip(vision={"layers": 3}), name="tiny")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def defined(model, pixels, steer):
    """A neuron's effect through a head counts times that head's factor."""
    out, heads = model.encode_image(pixels).clone(), model.decompose(pixels).heads()
    left = {Unit.parse(name).index: factor for name, factor in steer.items() if "." in name}
    for name, factor in steer.items():
        unit = Unit.parse(name)
        if unit.kind == "head":
            out += (factor - 1) * heads[:, unit.index[0], unit.index[1]]
            continue
        effects, neuron = model.second_order(pixels, unit.layer), unit.index[0]
        for place, path in enumerate(effects.path_index):
            effect = effects.coefficients[:, neuron, place, None] * effects.directions[neuron, place]
            out += (factor - 1) * left.get(path, 1.0) * effect
    return out


FACTORS = st.dictionaries(
    st.sampled_from(["0.0", "1.1", "2.0", "2.1", "0:3", "0:77", "1:5", "1:3"]), st.floats(-2, 3), min_size=1, max_size=5
)


@given(FACTORS)
def test_effects_are_scaled_within_the_one_sum(tiny, pixels, steer):
    steered = tiny.steer(steer)
    torch.testing.assert_close(steered.encode_image(pixels), defined(tiny, pixels, steer), rtol=1e-3, atol=1e-3)
    parts = steered.decompose(pixels)
    assert parts.residual() < 1e-5
    for layer in (0, 1):
        found, plain = steered.second_order(pixels, layer), tiny.second_order(pixels, layer)
        for neuron in (3, 5, 9):
            for place, (at, head) in enumerate(plain.path_index):
                factor = steer.get(f"{layer}:{neuron}", 1.0) * steer.get(f"{at}.{head}", 1.0)
                want = factor * plain.coefficients[:, neuron, place]
                torch.testing.assert_close(found.coefficients[:, neuron, place], want, rtol=1e-4, atol=1e-5)


def test_one_changes_nothing_and_nought_takes_all(tiny, pixels):
    assert tiny.steer({"1.1": 1, "0:3": 1.0}) is tiny
    zeroed = tiny.steer("1.1=0")
    assert float(zeroed.decompose(pixels).heads()[:, 1, 1].abs().max()) == 0
    ablated = Ablation.of(tiny, [(1, 1)], torch.zeros(3, 2, 16)).apply(tiny)
    assert torch.equal(zeroed.encode_image(pixels), ablated.encode_image(pixels))
    assert torch.equal(zeroed.clip.encode_image(pixels), tiny.clip.encode_image(pixels))
    assert zeroed.name == "tiny, 1.1 × 0 steered"
    with Passes() as passes:
        zeroed.encode_image(pixels)
    assert passes.batches.count(len(pixels)) == 1


def test_set_to_their_means_is_the_ablation_of_the_papers(tiny, pixels):
    heads = Moments().update(tiny.decompose(pixels).head_effects()).mean
    neurons = Moments().update(tiny.second_order(pixels, 0)).mean
    both = tiny.steer({"2.1": heads[2, 1], "0:40": neurons[40]})
    papers = NeuronAblation.of(tiny, 0, [40], neurons).apply(Ablation.of(tiny, [(2, 1)], heads).apply(tiny))
    torch.testing.assert_close(both.encode_image(pixels), papers.encode_image(pixels), rtol=1e-4, atol=1e-4)


def test_an_edit_behind_a_partial_ablation(tiny, pixels):
    """A neuron that is taken away goes through a head that keeps 0.4 of its deviation by 0.4."""
    heads = Moments().update(tiny.decompose(pixels).head_effects()).mean
    means = Moments().update(tiny.second_order(pixels, 0)).mean.float()
    partly = Ablation.of(tiny, [(2, 1)], heads, strength=0.6).apply(tiny)
    plain = tiny.second_order(pixels, 0)
    moved = (plain.coefficients[:, 40] - means[40])[..., None] * plain.directions[40]
    left = torch.tensor([0.4 if path == (2, 1) else 1.0 for path in plain.path_index])
    want = partly.encode_image(pixels) - torch.einsum("p,ipe->ie", left, moved)
    for found in (NeuronAblation.of(tiny, 0, [40], means).apply(partly), partly.steer({"0:40": means[40]})):
        torch.testing.assert_close(found.encode_image(pixels), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_edits_within_edits_are_one_pass(tiny, pixels, order):
    """Of a neuron at its mean, two that are steered, and a head that keeps 0.4 of its deviation, in any order."""
    means = Moments().update(tiny.decompose(pixels).head_effects()).mean
    usual = Moments().update(tiny.second_order(pixels, 0)).mean.float()
    edits = (
        lambda model: Ablation.of(tiny, [(2, 1)], means, strength=0.6).apply(model),
        lambda model: NeuronAblation.of(tiny, 0, [40], usual).apply(model),
        lambda model: model.steer({"0:3": 0, "1:5": 2.5}),
    )
    edited = tiny
    for place in order:
        edited = edits[place](edited)
    head = tiny.decompose(pixels).heads()[:, 2, 1]
    want = tiny.encode_image(pixels) - 0.6 * (head - head.mean(dim=0))
    for layer, neuron, factor, at in ((0, 40, 0, usual[40]), (0, 3, 0, 0), (1, 5, 2.5, 0)):
        plain = tiny.second_order(pixels, layer)
        left = torch.tensor([0.4 if path == (2, 1) else 1.0 for path in plain.path_index])
        now = plain.coefficients[:, neuron]
        want = want + (left * (factor * now + at - now)) @ plain.directions[neuron]
    asked = {
        "encode_image": lambda: edited.encode_image(pixels),
        "second_order": lambda: edited.second_order(pixels, 0),
    }
    for name, ask in asked.items():
        ask()  # is checked, in passes of its own
        with Passes() as passes:
            got = ask()
        assert passes.batches.count(len(pixels)) == 1, name
        if name == "encode_image":
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert edited.decompose(pixels).residual() < 1e-5


def test_pairs_of_a_pool(resnet):
    x = resnet.preprocess(summand.scenes.sample(3, seed=2).images)
    plain, steered = resnet.pairs(x), resnet.steer({"7x2": 3, "9x0": 0, "0.0": 0.5})
    effect = plain.coefficients[:, 7, 2, 0, None] * plain.directions[7, 2, 0]
    other = plain.coefficients[:, 9, 0, 0, None] * plain.directions[9, 0, 0]
    head = resnet.decompose(x).heads()[:, 0, 0]
    want = resnet.encode_image(x) + 2 * effect - 0.5 * (head - other) - other
    torch.testing.assert_close(steered.encode_image(x), want, rtol=1e-4, atol=1e-4)
    found = steered.pairs(x)
    torch.testing.assert_close(found.basis.total(found.coefficients) + found.rest, want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.coefficients[:, 7, 2], 3 * plain.coefficients[:, 7, 2])
    assert float(found.coefficients[:, 9, 0].abs().max()) == 0


def test_saved_and_loaded(tmp_path, tiny, pixels):
    from summand.models.ablations.steering import Steering

    made = Steering.of(tiny, {"2.1": torch.ones(16), "0:40": 2.5})
    made.save(tmp_path / "s.npz")
    again = load_ablation(tmp_path / "s.npz").apply(tiny)
    assert torch.equal(again.encode_image(pixels), made.apply(tiny).encode_image(pixels))
    with pytest.raises(SummandError, match="this steering was made with tiny, and its heads are not those of"):
        made.apply(summand.wrap(clip(seed=1, vision={"layers": 3})))


def test_load_takes_it_and_a_survey_remembers(tmp_path, vit, pixels):
    x = vit.preprocess(summand.scenes.sample(2, seed=1).images)
    steered = summand.load("scenes-vit", steer={"5.3": 0, "3:9": 2.0})
    assert steered.origin is not None
    assert steered.origin.steer == "5.3=0,3:9=2"
    run = summand.survey(steered, "scenes:count=8,seed=3", units="heads", out=tmp_path / "run")
    again = summand.open(tmp_path / "run").load_model()
    assert torch.equal(again.encode_image(x), steered.encode_image(x))
    assert "--steer 5.3=0,3:9=2" in run.manifest.command(tmp_path / "run")


@pytest.mark.parametrize(
    ("steer", "said"),
    [
        ("1.1", r"steer is UNIT=FACTOR with commas between \(10\.3=0,9:2914=2\); got '1\.1'"),
        ({"9.1": 0}, "tiny has heads 0.0 to 2.1; got 9.1"),
        ({"0:128": 0}, "layer 0 has neurons 0:0 to 0:127; got 0:128"),
        ({"2:3": 0}, "no attention comes after layer 2"),
        ({"1x1": 0}, "attention pool"),
        ({"1.1": "much"}, "1.1 is steered by a factor, or set to coefficients; got 'much'"),
        ({"1.1": float("nan")}, "finite factor"),
        ({"1.1": [1.0, 2.0]}, r"1\.1 is set to its coefficients, 16 numbers .*; got \[2\]"),
        ({"1.1": 0, Unit.parse("1.1"): 2}, "more than once"),
        ("1.1=0, 1.1=2", "steer names a unit more than once: 1.1"),
        (None, r"steer is unit → factor, .*; got NoneType"),
        (["1.1"], "got list"),
        ("head=2", "a unit is called"),
    ],
)
def test_bad_input(tiny, steer, said, unchecked):
    with pytest.raises(SummandError, match=said):
        tiny.steer(steer)
