from __future__ import annotations

import pytest
import torch

import summand
from tests.oracles import LiteralStreams
from tests.towers.test_towers import small_resnet, small_vit

SIZE = {"image_size": 16, "width": 24, "mlp_ratio": 0.5}


@pytest.mark.parametrize("vision", [{}, {"ls_init_value": 0.3}])
@torch.no_grad()
def test_neurons_equal_the_literal_formula(vision):
    clip = small_vit(**SIZE, **vision)
    model, blocks = summand.wrap(clip), clip.visual.transformer.resblocks
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for layer in range(3):
        effects = model.first_order(x, layer)
        assert (effects.units, effects.paths) == (("neuron",), ("activation",))
        for i in range(2):
            streams = LiteralStreams(clip.visual, x[i])
            for n in range(effects.coefficients.shape[1]):
                written = streams.hidden[layer][0, n] * blocks[layer].mlp.c_proj.weight[:, n]
                literal = streams.output(blocks[layer].ls_2(written))
                torch.testing.assert_close(effects.vectors()[i, n], literal, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "vision", [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}, {"ls_init_value": 0.3}]
)
@torch.no_grad()
def test_all_neurons_and_the_bias_are_the_mlp(vision):
    """In every kind of pooling: silence the output bias, and nothing but neurons is left of the MLP's term."""
    clip = small_vit(**SIZE, **vision)
    for block in clip.visual.transformer.resblocks:
        block.mlp.c_proj.bias.zero_()
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for layer in range(3):
        total = model.first_order(x, layer).vectors().sum(dim=1)
        torch.testing.assert_close(total, model.decompose(x).mlps()[:, layer], rtol=0, atol=1e-12)


@torch.no_grad()
def test_directions_are_kept_until_a_weight_changes():
    clip = small_vit(**SIZE)
    model = summand.wrap(clip)
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    first = model.first_order(x, 1)
    assert model.first_order(x, 1).basis is first.basis
    clip.visual.transformer.resblocks[1].mlp.c_proj.weight.mul_(2)
    torch.testing.assert_close(model.first_order(x, 1).directions, 2 * first.directions)
    clip.visual.proj.mul_(2)
    torch.testing.assert_close(model.first_order(x, 1).directions, 4 * first.directions)


def test_mistakes_are_named(unchecked):
    model, x = summand.wrap(small_vit(**SIZE)), torch.randn(1, 3, 16, 16, dtype=torch.float64)
    for wrong in (3, -1, True):
        with pytest.raises(summand.SummandError, match=r"has no layer.*layers 0 to 2 have neurons"):
            model.first_order(x, wrong)
    resnet = summand.wrap(small_resnet())
    with pytest.raises(summand.SummandError, match=r"first-order effects are .* ModifiedResNet\. model\.pairs"):
        resnet.first_order(torch.randn(1, 3, 64, 64, dtype=torch.float64), 0)
    with pytest.raises(summand.SummandError, match="NaN"):
        model.first_order(x * torch.nan, 0)
