from __future__ import annotations

import numpy as np
import pytest
import torch

import summand
from summand import Moments, SummandError
from summand.border import foreign
from summand.maps.baselines.capture import Capture
from summand.models.ablations import Ablation, NeuronAblation, load_ablation
from summand.survey.units import default_units
from summand.towers import Tower
from tests.counting import Passes
from tests.tiny import clip

HEADS = ((0, 1), (2, 0), (2, 1))


@pytest.fixture(scope="module")
def tiny():
    return summand.wrap(clip(vision={"layers": 3}), name="tiny")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(9, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def ablation(tiny, pixels):
    means = Moments().update(tiny.decompose(pixels).head_effects()).mean
    return Ablation.of(tiny, HEADS, means, ["why it went"] * 3)


def test_heads_are_replaced_by_their_means_within_the_one_pass(tiny, pixels, ablation):
    ablated = ablation.apply(tiny)
    with Passes() as passes:
        found = ablated.encode_image(pixels)
    assert passes.batches.count(len(pixels)) == 1  # the guard looks at one image by itself
    heads = tiny.decompose(pixels).heads()
    expected = tiny.encode_image(pixels)
    for layer, head in HEADS:
        effect = heads[:, layer, head]
        expected = expected - effect + effect.mean(dim=0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_ablated_model_is_a_sum_too(tiny, pixels, ablation):
    parts = ablation.apply(tiny).decompose(pixels)
    assert parts.residual() < 1e-5
    heads, before = parts.heads(), tiny.decompose(pixels).heads()
    for layer in range(3):
        for head in range(2):
            if (layer, head) in HEADS:
                assert float(heads[:, layer, head].std(dim=0).max()) < 1e-5
            else:
                torch.testing.assert_close(heads[:, layer, head], before[:, layer, head])
    with pytest.raises(SummandError, match="but not into tokens"):
        ablation.apply(tiny).decompose(pixels).tokens()


def test_saved_loaded_and_refused_by_another_model(tmp_path, tiny, pixels, ablation):
    file = tmp_path / "a.npz"
    ablation.save(file)
    again = Ablation.load(file)
    assert (again.heads, again.model, again.why) == (HEADS, "tiny", ("why it went",) * 3)
    torch.testing.assert_close(again.apply(tiny).encode_image(pixels), ablation.apply(tiny).encode_image(pixels))
    with np.load(file, allow_pickle=False) as plain:
        assert all(plain[name].dtype != object for name in plain.files)
    for other in (clip(seed=1, vision={"layers": 3}), clip()):
        with pytest.raises(SummandError, match="made with tiny, and its heads are not those of"):
            again.apply(summand.wrap(other))
    (tmp_path / "b.npz").write_bytes(b"nothing")
    with pytest.raises(SummandError, match="no file of ablation or is broken"):
        Ablation.load(tmp_path / "b.npz")


def test_neurons_add_their_mean_within_the_one_pass(tmp_path, tiny, pixels):
    chosen = [3, 40, 99]
    effects = tiny.second_order(pixels, 0)
    made = NeuronAblation.of(tiny, 0, chosen, Moments().update(effects).mean, ["why"] * 3)
    made.save(tmp_path / "n.npz")
    ablated = load_ablation(tmp_path / "n.npz").apply(tiny)
    with Passes() as passes:
        found = ablated.encode_image(pixels)
    assert passes.batches.count(len(pixels)) == 1  # the guard looks at one image by itself
    removed = effects.vectors()[:, chosen].sum(dim=1)
    expected = tiny.encode_image(pixels) - removed + removed.mean(dim=0)
    assert float((expected - tiny.encode_image(pixels)).abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    # The ablated model is a sum too, and differs from the plain one in the heads behind the neurons only.
    parts, before = ablated.decompose(pixels), tiny.decompose(pixels)
    assert parts.residual() < 1e-5
    torch.testing.assert_close(parts.heads()[:, 0], before.heads()[:, 0])
    changed = (before.heads() - parts.heads())[:, 1:].sum(dim=(1, 2))
    torch.testing.assert_close(changed, removed - removed.mean(dim=0), rtol=1e-3, atol=1e-4)
    for other in (clip(seed=1, vision={"layers": 3}), clip(vision={"layers": 1}), clip()):
        with pytest.raises(
            SummandError, match=r"made with tiny, and its neurons are not those of .* --units neurons:0"
        ):
            made.apply(summand.wrap(other))
    with pytest.raises(SummandError, match="holds neuron ablation, not ablation"):
        Ablation.load(tmp_path / "n.npz")


def test_load_applies_a_file(tmp_path, vit, pixels):
    means = torch.zeros(6, 8, 16)
    Ablation.of(vit, [(5, 3)], means).save(tmp_path / "a.npz")
    x = vit.preprocess(np.zeros((2, 64, 64, 3), dtype=np.uint8))
    ablated = summand.load("scenes-vit", ablation=tmp_path / "a.npz")
    expected = vit.encode_image(x) - vit.decompose(x).heads()[:, 5, 3]
    torch.testing.assert_close(ablated.encode_image(x), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(SummandError, match="there is no file"):
        summand.load("scenes-vit", ablation=tmp_path / "none.npz")


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_models_are_told_apart_whatever_the_size_of_what_they_write(scale):
    """LayerScale begins at 1e-6: then all that a head or a neuron writes is small."""

    def scaled(seed):
        made = clip(seed, vision={"layers": 3, "ls_init_value": 1.0})
        with torch.no_grad():
            for block in made.visual.transformer.resblocks:
                block.ls_1.gamma.mul_(scale)
                block.ls_2.gamma.mul_(scale)
        return summand.wrap(made)

    one, again, other = scaled(0), scaled(0), scaled(1)
    heads = Ablation.of(one, HEADS, torch.zeros(3, 2, 16))
    neurons = NeuronAblation.of(one, 0, [1, 3], torch.zeros(128, 4))
    for ablation in (heads, neurons):
        assert ablation.apply(again) is not again
        with pytest.raises(SummandError, match="was made with"):
            ablation.apply(other)


def test_a_model_in_bf16_is_the_same_model(vit):
    """Its weights are rounded, to within two or three thousandths of their size."""
    rounded = summand.load("scenes-vit", precision="bf16")
    heads = Ablation.of(vit, HEADS, torch.zeros(6, 8, 16))
    neurons = NeuronAblation.of(vit, 2, [5, 7], torch.zeros(512, 24))
    for ablation in (heads, neurons):
        assert ablation.apply(rounded) is not rounded


# What an ablated model says of its neurons and pairs, against the definition
#   M'(x) = M(x) − Σ_{h ∈ S} (φ_h − φ̄_h) − Σ_{n ∈ N} Σ_{h ∉ S} (φ_n^h − φ̄_n^h),
# each φ taken from the plain model.


def neurons_of(tiny, pixels, layer, chosen):
    return NeuronAblation.of(tiny, layer, chosen, Moments().update(tiny.second_order(pixels, layer)).mean)


def expected_output(tiny, pixels, heads, layer, chosen):
    parts, second = tiny.decompose(pixels).heads(), tiny.second_order(pixels, layer)
    out = tiny.encode_image(pixels).clone()
    for at, head in heads:
        out -= parts[:, at, head] - parts[:, at, head].mean(dim=0)
    for neuron in chosen:
        for place, path in enumerate(second.path_index):
            if path not in heads:
                effect = second.coefficients[:, neuron, place, None] * second.directions[neuron, place]
                out -= effect - effect.mean(dim=0)
    return out


@pytest.mark.parametrize("order", ["heads", "neurons", "heads then neurons", "neurons then heads"])
def test_second_order_effects_of_an_ablated_model(tiny, pixels, ablation, order):
    chosen = [3, 40, 99]
    ablations = {"heads": ablation, "neurons": neurons_of(tiny, pixels, 0, chosen)}
    ablated = tiny
    for name in order.split(" then "):
        ablated = ablations[name].apply(ablated)
    heads, gone = (HEADS if "heads" in order else ()), (chosen if "neurons" in order else [])
    wanted = expected_output(tiny, pixels, heads, 0, gone)
    torch.testing.assert_close(ablated.encode_image(pixels), wanted, rtol=1e-4, atol=1e-4)

    plain, found = tiny.second_order(pixels, 0), ablated.second_order(pixels, 0)
    assert found.path_index == plain.path_index
    for place, path in enumerate(plain.path_index):
        for neuron in (3, 4, 40, 99, 100):
            want = plain.coefficients[:, neuron, place]
            if neuron in gone:
                want = want.mean().expand_as(want)
            if path in heads:
                want = torch.zeros_like(want)
            torch.testing.assert_close(found.coefficients[:, neuron, place], want, rtol=1e-4, atol=1e-6)

    # Σ_n φ'_n and the other terms, which are the plain model's but for the means of heads, sum to M'(x).
    rest = tiny.encode_image(pixels) - plain.vectors().sum(dim=1)
    parts = tiny.decompose(pixels).heads()
    for at, head in heads:
        through = [place for place, path in enumerate(plain.path_index) if path == (at, head)]
        carried = torch.einsum("inp,npe->ie", plain.coefficients[:, :, through], plain.directions[:, through])
        rest += parts[:, at, head].mean(dim=0) - (parts[:, at, head] - carried)
    torch.testing.assert_close(found.vectors().sum(dim=1) + rest, wanted, rtol=1e-3, atol=2e-4)


def test_what_the_network_does_is_the_same_in_an_ablated_model(tiny, pixels, ablation):
    ablated = ablation.apply(tiny)
    assert torch.equal(ablated.activations(pixels, 1), tiny.activations(pixels, 1))
    first = ablated.first_order(pixels, 1)
    torch.testing.assert_close(first.vectors(), tiny.first_order(pixels, 1).vectors())
    bias = tiny.decompose(pixels).mlps()[:, 1] - tiny.first_order(pixels, 1).vectors().sum(dim=1)
    torch.testing.assert_close(first.vectors().sum(dim=1) + bias, ablated.decompose(pixels).mlps()[:, 1])


def test_an_ablated_tower_is_one_of_its_kind(tiny, resnet, ablation):
    ablated = ablation.apply(tiny).tower
    assert isinstance(ablated, type(tiny.tower))
    assert isinstance(ablated, Tower)
    assert [block.module for block in foreign(ablated).blocks] == [block.module for block in foreign(tiny.tower).blocks]
    assert default_units(ablation.apply(tiny)) == default_units(tiny)
    heads = resnet.tower.head_maps().directions.shape[1]
    pooled = Ablation.of(resnet, [(0, 1)], torch.zeros(1, heads, resnet.tower.head_maps().directions.shape[2]))
    assert isinstance(pooled.apply(resnet).tower, type(resnet.tower))


def test_pairs_of_an_ablated_model(resnet):
    x = resnet.preprocess(summand.scenes.sample(5, seed=2).images)
    means = Moments().update(resnet.decompose(x).head_effects()).mean
    ablated = Ablation.of(resnet, [(0, 1), (0, 3)], means).apply(resnet)
    heads, wanted = resnet.decompose(x).heads()[:, 0], resnet.encode_image(x).clone()
    for head in (1, 3):
        wanted -= heads[:, head] - heads[:, head].mean(dim=0)
    plain, found = resnet.pairs(x), ablated.pairs(x)
    torch.testing.assert_close(found.basis.total(found.coefficients) + found.rest, wanted, rtol=1e-4, atol=1e-4)
    for head in range(heads.shape[1]):
        want = plain.coefficients[:, :, head] * (head not in (1, 3))
        torch.testing.assert_close(found.coefficients[:, :, head], want, rtol=1e-5, atol=1e-6)
    # What is left does not vary with the image but by what the plain model's rest does.
    shift = found.rest - plain.rest
    biases = resnet.decompose(x).heads()[:, 0] - torch.einsum("inhp,nhpe->ihe", plain.coefficients, plain.directions)
    moved = sum(heads[:, head].mean(dim=0) - biases[:, head] for head in (1, 3))
    torch.testing.assert_close(shift, moved, rtol=1e-3, atol=1e-4)


def test_what_an_ablated_model_cannot_say_is_refused_with_the_reason(tiny, vit, pixels, ablation):
    ablated = ablation.apply(tiny)
    means = tiny.mean_activations([pixels], 1)
    with pytest.raises(SummandError, match=r"passes of the network itself, in which nothing is ablated"):
        ablated.indirect(pixels, 1, [3], means)
    for ask in (lambda: ablated.second_order(pixels, 0, parity="paper"), lambda: ablated.decompose(pixels, "paper")):
        with pytest.raises(SummandError, match="not for an ablated one; load it without ablation="):
            ask()
    with pytest.raises(SummandError, match=r"ends? in an attention pool"):
        ablated.pairs(pixels)
    x = vit.preprocess(summand.scenes.sample(2, seed=1).images)
    ablated = Ablation.of(vit, [(5, 3)], torch.zeros(6, 8, 16)).apply(vit)
    with pytest.raises(SummandError, match="which an ablation leaves as it is"):
        Capture(ablated, x)  # what all baselines read
