from __future__ import annotations

import numpy as np
import pytest
import torch

import summand
from tests.effects.test_pairs import entering, small
from tests.published_neurons import literal_even_neurons, literal_even_pairs, published_second_order
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


@torch.no_grad()
def test_principal_directions_are_those_of_the_published_procedure():
    """Paper A's code on dense effects: centred by the mean over all images, the k largest, SVD without centring them
    again, r on the side of most of them; x = ⟨φ − φ̄, r⟩; an effect counts where its norm reaches the k-th largest."""
    clip, k = small_vit(**TINY), 7
    model = summand.wrap(clip)
    x = torch.randn(20, 3, 16, 16, dtype=torch.float64)
    dense = torch.stack([literal_even_neurons(clip.visual, image, 1) for image in x]).numpy()
    centred = dense - dense.mean(axis=0)
    norms = np.linalg.norm(centred, axis=-1)
    batches = [model.second_order(some, 1, parity="paper") for some in x.split(8)]
    moments = summand.Moments()
    for effects in batches:
        moments.update(effects)
    top = summand.TopImages(k, moments.mean)
    for start, effects in zip((0, 8, 16), batches, strict=True):
        top.update(effects, range(start, start + effects.count))
    found = summand.rank_one(top)
    for n in range(dense.shape[1]):
        best = np.argsort(-norms[:, n])[:k]
        assert top.ids[n].tolist() == best.tolist()
        _, singular, right = np.linalg.svd(centred[best, n], full_matrices=False)
        r = right[0] * (1 if ((centred[best, n] @ right[0]) > 0).sum() > k / 2 else -1)
        np.testing.assert_allclose(found.directions[n], r, atol=1e-8)
        np.testing.assert_allclose(found.explained[n, 0], singular[0] ** 2 / (singular**2).sum(), atol=1e-9)
        for start, effects in zip((0, 8, 16), batches, strict=True):
            some = slice(start, start + effects.count)
            amount = centred[some, n] @ r
            np.testing.assert_allclose(found.project(effects)[:, n], amount, atol=1e-9)
            rebuilt = np.outer(amount, r) + dense[:, n].mean(axis=0)
            np.testing.assert_allclose(found.reconstruct(effects).vectors()[:, n], rebuilt, atol=1e-8)
            counts = norms[some, n] >= np.sort(norms[:, n])[-k] - 1e-12
            np.testing.assert_array_equal(top.significant(effects)[:, n], counts)


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
