from __future__ import annotations

import pytest
import torch

import summand
import summand.towers.hf
from summand.border import foreign
from tests.effects.test_pairs import small
from tests.towers.test_hf import model_of
from tests.towers.test_towers import small_resnet, small_vit

SIZE = {"image_size": 16, "width": 24, "mlp_ratio": 0.5}


def towers():
    yield "class token", lambda: small_vit(**SIZE)
    yield "layer scale", lambda: small_vit(**SIZE, ls_init_value=0.3)
    yield "mean, then norm", lambda: small_vit(**SIZE, pool_type="avg", final_ln_after_pool=True)
    yield "norm, then mean", lambda: small_vit(**SIZE, pool_type="avg")
    yield "transformers", lambda: model_of("CLIPModel")
    yield "timm", lambda: small("EVA01-g-14")


def by_hooks(model: summand.Model, x: torch.Tensor, layer: int, neuron: int, means: torch.Tensor) -> torch.Tensor:
    """The whole model from the pixels on, with the neuron replaced where the MLP's output map reads it."""

    def replace(_, args):
        hidden = args[0].clone()
        hidden[..., neuron] = means[:, neuron]
        return (hidden, *args[1:])

    handle = foreign(model.tower).blocks[layer].neuron_map().register_forward_pre_hook(replace)
    output = model.encode_image(x)
    handle.remove()
    return output


@pytest.mark.parametrize("build", [pytest.param(build, id=name) for name, build in towers()])
@torch.no_grad()
def test_the_change_is_that_of_a_whole_pass_with_the_neuron_replaced(build):
    model = summand.wrap(build())
    x = torch.randn(2, 3, *model.tower.image_size, dtype=torch.float64)
    for layer in range(model.tower.layers):
        means = model.mean_activations([torch.randn_like(x), torch.randn_like(x)], layer)
        effects = model.indirect(x, layer, [5, 0, 3], means, batch_size=4)
        assert effects.units == ("neuron",)
        for place, neuron in enumerate([5, 0, 3]):
            expected = model.encode_image(x) - by_hooks(model, x, layer, neuron, means)
            assert expected.abs().max() > 1e-6
            torch.testing.assert_close(effects.vectors()[:, place], expected, rtol=0, atol=1e-11)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.clip.modules())


@torch.no_grad()
def test_mean_activations_are_those_of_all_images_at_once():
    clip = small_vit(**SIZE)
    model = summand.wrap(clip)
    x = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    hidden = []
    handle = clip.visual.transformer.resblocks[1].mlp.gelu.register_forward_hook(lambda *args: hidden.append(args[2]))
    model.encode_image(x)
    handle.remove()
    torch.testing.assert_close(model.activations(x, 1), hidden[0], rtol=0, atol=1e-12)
    means = model.mean_activations(iter([x[:2], x[2:3], x[3:]]), 1)
    torch.testing.assert_close(means, hidden[0].mean(dim=0), rtol=0, atol=1e-12)


@torch.no_grad()
def test_statistics_of_measured_effects_are_those_of_the_vectors():
    model = summand.wrap(small_vit(**SIZE))
    x = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    effects = model.indirect(x, 1, [1, 2], model.mean_activations([x], 1))
    moments = summand.Moments().update(effects)
    torch.testing.assert_close(moments.variance(), effects.vectors().var(dim=0, correction=0).sum(dim=-1))
    top = summand.TopImages(3, moments.mean).update(effects, range(8))
    norms = (effects.vectors() - effects.vectors().mean(dim=0)).norm(dim=-1)
    assert torch.equal(top.ids, norms.T.argsort(dim=-1, descending=True)[:, :3])


def test_mistakes_are_named(unchecked):
    model, x = summand.wrap(small_vit(**SIZE)), torch.randn(1, 3, 16, 16, dtype=torch.float64)
    means = model.mean_activations([x], 0)
    with pytest.raises(summand.SummandError, match="has neurons 0 to 11; got 12"):
        model.indirect(x, 0, [3, 12], means)
    with pytest.raises(summand.SummandError, match="at least one of the neurons 0 to 11"):
        model.indirect(x, 0, [], means)
    with pytest.raises(summand.SummandError, match=r"means must be \[token, neuron\] = \[5, 12\], got \[12\]"):
        model.indirect(x, 0, [1], means[0])
    with pytest.raises(summand.SummandError, match="means hold NaN"):
        model.indirect(x, 0, [1], means * torch.nan)
    with pytest.raises(summand.SummandError, match="batch_size must be at least 1"):
        model.indirect(x, 0, [1], means, batch_size=0)
    with pytest.raises(summand.SummandError, match="has no layer 7"):
        model.indirect(x, 7, [1], means)
    with pytest.raises(summand.SummandError, match="has no layer 7"):
        model.mean_activations([x], 7)
    with pytest.raises(summand.SummandError, match="need at least one image"):
        model.mean_activations([], 0)
    resnet = summand.wrap(small_resnet())
    with pytest.raises(summand.SummandError, match="activations are of the neurons of a transformer"):
        resnet.activations(torch.randn(1, 3, 64, 64, dtype=torch.float64), 0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.clip.modules())
