from __future__ import annotations

import numpy as np
import pytest
import torch

import summand
from summand import Moments, SummandError
from summand.models.ablations import Ablation, NeuronAblation, load_ablation
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
    calls = []
    handle = tiny.clip.visual.conv1.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    ablated = ablation.apply(tiny)
    found = ablated.encode_image(pixels)
    handle.remove()
    assert calls.count(len(pixels)) == 1  # the guard looks at one image by itself
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
    chosen, calls = [3, 40, 99], []
    effects = tiny.second_order(pixels, 0)
    made = NeuronAblation.of(tiny, 0, chosen, Moments().update(effects).mean, ["why"] * 3)
    made.save(tmp_path / "n.npz")
    ablated = load_ablation(tmp_path / "n.npz").apply(tiny)
    handle = tiny.clip.visual.conv1.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    found = ablated.encode_image(pixels)
    handle.remove()
    assert calls.count(len(pixels)) == 1  # the guard looks at one image by itself
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
