from __future__ import annotations

import pytest
import torch

import summand
from tests.oracles import LiteralStreams
from tests.towers.test_towers import small_resnet, small_vit

SIZE = {"image_size": 16, "width": 24, "mlp_ratio": 0.5}


@pytest.mark.parametrize("vision", [{}, {"ls_init_value": 0.3, "no_ln_pre": True}])
@torch.no_grad()
def test_neurons_equal_the_literal_formula(vision):
    clip = small_vit(**SIZE, **vision)
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for layer in (0, 1):
        effects = model.second_order(x, layer)
        assert effects.units == ("neuron",)
        assert effects.paths == ("later layer", "later head")
        assert effects.path_index == tuple((at, head) for at in range(layer + 1, 3) for head in range(2))
        for i in range(2):
            literal = LiteralStreams(clip.visual, x[i]).second_order(layer)
            each = effects.coefficients[i][..., None] * effects.directions
            torch.testing.assert_close(each, literal.flatten(1, 2), rtol=0, atol=1e-12)
            torch.testing.assert_close(effects.vectors()[i], literal.sum(dim=(1, 2)), rtol=0, atol=1e-12)
        torch.testing.assert_close(effects.norms(), effects.vectors().norm(dim=-1), rtol=1e-8, atol=1e-10)


@torch.no_grad()
def test_a_head_is_the_sum_of_every_earlier_source_through_it():
    clip = small_vit(**SIZE, ls_init_value=0.3)
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    heads = model.decompose(x).heads()
    layers = [model.second_order(x, layer) for layer in (0, 1)]
    for i in range(2):
        streams = LiteralStreams(clip.visual, x[i])
        for at in range(3):
            for head in range(2):
                total = streams.not_neurons(at, head)
                for effects in layers[:at]:
                    path = effects.path_index.index((at, head))
                    total += effects.coefficients[i, :, path] @ effects.directions[:, path]
                torch.testing.assert_close(total, heads[i, at, head], rtol=0, atol=1e-12)


@pytest.mark.parametrize("vision", [{"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}])
@torch.no_grad()
def test_one_neuron_more_active_moves_the_heads_by_its_effect(vision):
    """Also where patches are averaged: a neuron's effect is what it adds to its later heads' direct effects."""
    clip = small_vit(**SIZE, **vision, layers=2)
    model = summand.wrap(clip)
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    effects = model.second_order(x, 0)
    views = []
    trace = model.tower.run(x, lambda _, view: views.append(view))
    block, last = clip.visual.transformer.resblocks
    hidden, streams = [], []
    handle = block.mlp.c_proj.register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    entering = last.register_forward_pre_hook(lambda _, args: streams.append(args[0]))
    model.encode_image(x)
    handle.remove(), entering.remove()
    deviation = (streams[0].var(dim=-1, correction=0) + last.ln_1.eps).sqrt()[0]
    for n in range(3):
        written = hidden[0][0, :, n, None] * block.mlp.c_proj.weight[:, n]
        normed = (written - written.mean(dim=-1, keepdim=True)) / deviation[:, None] * last.ln_1.weight
        values = torch.einsum("ht,tw,hcw->hc", views[1].row[0], normed, views[1].value_weight)
        expected = torch.einsum("hc,hce->e", values, model.tower.head_maps().directions[1]) * trace.scale[0]
        torch.testing.assert_close(effects.vectors()[0, n], expected, rtol=0, atol=1e-12)


def test_directions_are_kept_until_a_weight_changes():
    clip = small_vit(**SIZE)
    model = summand.wrap(clip)
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    first = model.second_order(x, 0)
    assert model.second_order(x, 0).basis is first.basis
    with torch.no_grad():
        clip.visual.transformer.resblocks[0].mlp.c_proj.weight.mul_(2)
    torch.testing.assert_close(model.second_order(x, 0).directions, 2 * first.directions)


def test_mistakes_are_named(unchecked):
    model, x = summand.wrap(small_vit(**SIZE)), torch.randn(1, 3, 16, 16, dtype=torch.float64)
    with pytest.raises(summand.SummandError, match=r"no attention comes after layer 2.*layers 0 to 1 have"):
        model.second_order(x, 2)
    for wrong in (3, -1, "1"):
        with pytest.raises(summand.SummandError, match=r"has no layer.*layers 0 to 1 have"):
            model.second_order(x, wrong)
    resnet = summand.wrap(small_resnet())
    with pytest.raises(summand.SummandError, match=r"ModifiedResNet\. model\.pairs"):
        resnet.second_order(torch.randn(1, 3, 64, 64, dtype=torch.float64), 0)
    normed = summand.wrap(small_vit(**SIZE, block_type="custom", scale_attn=True))
    with pytest.raises(summand.SummandError, match="plain pre-norm blocks"):
        normed.second_order(x, 0)


def test_several_layers_share_one_pass_and_equal_each_by_itself(vit, pixels):
    from summand.effects.second_order import second_orders

    found, trace = second_orders(vit.tower, pixels, [1, 3, 2])
    for layer in (1, 2, 3):
        alone = vit.second_order(pixels, layer)
        torch.testing.assert_close(found[layer].coefficients, alone.coefficients, rtol=1e-4, atol=1e-5)
        assert found[layer].path_index == alone.path_index
    torch.testing.assert_close(trace.values, vit.decompose(pixels).trace.values, rtol=1e-4, atol=1e-5)
