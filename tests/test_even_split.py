from __future__ import annotations

import pytest
import torch

import summand
from tests.published_neurons import literal_even_neurons, literal_even_pairs, published_second_order
from tests.test_pairs import entering, small
from tests.towers.test_towers import small_resnet, small_vit

TINY = {"image_size": 16, "width": 24, "mlp_ratio": 0.5}


@pytest.mark.parametrize("vision", [{}, {"ls_init_value": 0.3}])
@torch.no_grad()
def test_neurons_equal_the_published_count_of_every_constant(vision):
    clip = small_vit(**TINY, **vision)
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for layer in (0, 1):
        effects = model.second_order(x, layer, parity="paper")
        for i in range(2):
            literal = literal_even_neurons(clip.visual, x[i], layer)
            torch.testing.assert_close(effects.vectors()[i], literal, rtol=0, atol=1e-10)
            torch.testing.assert_close(published_second_order(clip.visual, x[i], layer), literal, rtol=0, atol=1e-10)
        torch.testing.assert_close(effects.norms(), effects.vectors().norm(dim=-1), rtol=1e-7, atol=1e-9)


def test_shares_are_the_same_for_all_neurons_and_say_what_they_are():
    model = summand.wrap(small_vit(**TINY))
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    plain, even = model.second_order(x, 0), model.second_order(x, 0, parity="paper")
    assert even.paths == ("later layer", "later head", "term")
    own = [path for path, (_, _, term) in enumerate(even.path_index) if term == 0]
    assert tuple(even.path_index[path][:2] for path in own) == plain.path_index
    shared = [path for path in range(len(even.path_index)) if path not in own]
    assert len(shared) == 2 * len(own) + 3
    each = torch.einsum("inp,npe->ine", even.coefficients[..., shared], even.directions[:, shared])
    torch.testing.assert_close(each, each[:, :1].expand_as(each), rtol=0, atol=1e-14)
    norm = model.encode_image(x).norm(dim=-1)[:, None, None]
    torch.testing.assert_close(even.coefficients[..., own] * norm / 100, plain.coefficients)


@torch.no_grad()
def test_pairs_equal_the_published_count_of_the_biases():
    clip = small_resnet(width=2)
    model, pool = summand.wrap(clip), clip.visual.attnpool
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    grids = entering(pool, lambda: model.encode_image(x))
    effects = model.pairs(x, parity="paper")
    for i in range(2):
        torch.testing.assert_close(effects.vectors()[i], literal_even_pairs(pool, grids[i]), rtol=0, atol=1e-10)
    assert not effects.rest.any()
    torch.testing.assert_close(effects.vectors().sum(dim=(1, 2)), model.encode_image(x))
    centred = summand.Moments().update(effects), summand.Moments().update(model.pairs(x))
    torch.testing.assert_close(centred[0].variance(), centred[1].variance())  # shares do not vary: only the mean moves


def test_directions_are_kept_until_a_constant_changes():
    clip = small_vit(**TINY)
    model = summand.wrap(clip)
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    first = model.second_order(x, 0, parity="paper")
    assert model.second_order(x, 0, parity="paper").basis is first.basis
    with torch.no_grad():
        for bias in (clip.visual.ln_post.bias, clip.visual.transformer.resblocks[2].attn.in_proj_bias):
            bias.add_(0.5)
            effects = model.second_order(x, 0, parity="paper")
            literal = literal_even_neurons(clip.visual, x[0], 0)
            torch.testing.assert_close(effects.vectors()[0], literal, rtol=0, atol=1e-10)
    resnet = summand.wrap(small_resnet())
    y = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert resnet.pairs(y, parity="paper").basis is resnet.pairs(y, parity="paper").basis


def test_mistakes_are_named(unchecked):
    model, x = summand.wrap(small_vit(**TINY)), torch.randn(1, 3, 16, 16, dtype=torch.float64)
    with pytest.raises(summand.SummandError, match="parity must be None or 'paper', got 'exact'"):
        model.second_order(x, 0, parity="exact")
    averaged = summand.wrap(small_vit(**TINY, pool_type="avg"))
    with pytest.raises(summand.SummandError, match="class token"):
        averaged.second_order(x, 0, parity="paper")
    resnet, y = summand.wrap(small_resnet()), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with pytest.raises(summand.SummandError, match="leaves no positions out"):
        resnet.pairs(y, positions=False, parity="paper")
    with pytest.raises(summand.SummandError, match="parity must be None or 'paper'"):
        resnet.pairs(y, parity="exact")
    siglip = summand.wrap(small("ViT-B-16-SigLIP"))
    with pytest.raises(summand.SummandError, match="defined for pairs of a ModifiedResNet"):
        siglip.pairs(torch.randn(1, 3, *siglip.tower.image_size, dtype=torch.float64), parity="paper")
