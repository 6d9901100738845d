"""Axes taken from some heads, all terms, or the embedding; and heads moved short of their mean, or beyond it."""

from __future__ import annotations

import pytest
import torch

import summand
from summand import Moments, SummandError
from summand.border import foreign
from summand.models.ablations import Ablation, AxisRemoval, load_ablation
from tests.tiny import clip

HEADS = ((0, 1), (2, 0))


@pytest.fixture(scope="module")
def tiny():
    return summand.wrap(clip(vision={"layers": 3}), name="tiny")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(9, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def axes():
    return torch.linalg.qr(torch.randn(16, 2, generator=torch.Generator().manual_seed(1))).Q.T.contiguous()


def terms(model, x, where):
    """Σ of the terms that lose the axes."""
    parts = model.decompose(x)
    heads = parts.heads()
    if where == "heads":
        return torch.stack([heads[:, layer, head] for layer, head in HEADS]).sum(dim=0)
    return heads.sum(dim=(1, 2)) + parts.mlps().sum(dim=1) if where == "terms" else model.encode_image(x)


def made(model, x, axes, where):
    mean = terms(model, x, where).mean(dim=0)
    return AxisRemoval.of(model, axes, mean, where, HEADS if where == "heads" else (), ["why"])


@pytest.mark.parametrize("where", ["heads", "terms", "embedding"])
def test_the_terms_lose_the_axes_and_still_sum(tiny, pixels, axes, where, tmp_path):
    removal = made(tiny, pixels, axes, where)
    moved = terms(tiny, pixels, where)
    lost = (moved - moved.mean(dim=0)) @ axes.T @ axes
    wanted = tiny.encode_image(pixels) - lost
    edited = removal.apply(tiny)
    torch.testing.assert_close(edited.encode_image(pixels), wanted, rtol=1e-4, atol=1e-4)
    parts = edited.decompose(pixels)
    assert parts.residual() < 1e-5
    torch.testing.assert_close(parts.total(), wanted, rtol=1e-4, atol=1e-4)
    heads, before = parts.heads(), tiny.decompose(pixels).heads()
    for layer in range(3):
        for head in range(2):
            want = before[:, layer, head]
            if where != "heads" or (layer, head) in HEADS:
                want = want - want @ axes.T @ axes
            torch.testing.assert_close(heads[:, layer, head], want, rtol=1e-3, atol=1e-5)
    removal.save(tmp_path / "axes.npz")
    again = load_ablation(tmp_path / "axes.npz")
    assert isinstance(again, AxisRemoval)
    assert (again.where, again.heads, again.why) == (removal.where, removal.heads, ("why",))
    assert torch.equal(again.apply(tiny).encode_image(pixels), edited.encode_image(pixels))
    with pytest.raises(SummandError, match="this repair was made with tiny"):
        again.apply(summand.wrap(clip(vision={"layers": 3}, seed=5), name="other"))


@pytest.mark.parametrize("where", ["heads", "terms", "embedding"])
def test_second_order_effects_go_through_the_heads_that_are_left(tiny, pixels, axes, where):
    edited, plain = made(tiny, pixels, axes, where).apply(tiny).second_order(pixels, 0), tiny.second_order(pixels, 0)
    vectors = torch.einsum("inp,npe->inpe", plain.coefficients, plain.directions)
    across = vectors - vectors @ axes.T @ axes
    for place, path in enumerate(plain.path_index):
        want = across if where != "heads" or path in HEADS else vectors
        found = torch.einsum("in,ne->ine", edited.coefficients[:, :, place], edited.directions[:, place])
        torch.testing.assert_close(found, want[:, :, place], rtol=1e-4, atol=1e-6)
    directions = foreign(made(tiny, pixels, axes, where).apply(tiny).tower).neuron_directions(0).dense()
    torch.testing.assert_close(directions, edited.directions)


def test_pairs_of_a_pool_lose_the_axes(resnet):
    x = resnet.preprocess(summand.scenes.sample(4, seed=2).images)
    width = resnet.tower.embed
    axes = torch.linalg.qr(torch.randn(width, 3, generator=torch.Generator().manual_seed(1))).Q.T.contiguous()
    edited = AxisRemoval.of(resnet, axes, resnet.encode_image(x).mean(dim=0)).apply(resnet)
    found, plain = edited.pairs(x), resnet.pairs(x)
    torch.testing.assert_close(
        found.basis.total(found.coefficients) + found.rest, edited.encode_image(x), rtol=1e-4, atol=1e-4
    )
    want = plain.basis.total(plain.coefficients)
    torch.testing.assert_close(found.basis.total(found.coefficients), want - want @ axes.T @ axes, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("strength", [0.4, 1.5])
def test_heads_are_moved_part_of_the_way_or_beyond(tiny, pixels, strength, tmp_path):
    means = Moments().update(tiny.decompose(pixels).head_effects()).mean
    ablation = Ablation.of(tiny, HEADS, means, strength=strength)
    effects = terms(tiny, pixels, "heads")
    wanted = tiny.encode_image(pixels) - strength * (effects - effects.mean(dim=0))
    edited = ablation.apply(tiny)
    torch.testing.assert_close(edited.encode_image(pixels), wanted, rtol=1e-4, atol=1e-4)
    assert edited.decompose(pixels).residual() < 1e-5
    plain, found = tiny.second_order(pixels, 0), edited.second_order(pixels, 0)
    for place, path in enumerate(plain.path_index):
        share = 1 - strength if path in HEADS else 1
        torch.testing.assert_close(found.coefficients[..., place], share * plain.coefficients[..., place])
    ablation.save(tmp_path / "some.npz")
    again = load_ablation(tmp_path / "some.npz")
    assert torch.equal(again.apply(tiny).encode_image(pixels), edited.encode_image(pixels))
    twice = Ablation.of(tiny, HEADS[:1], means, strength=0.5).apply(edited).second_order(pixels, 0)
    place = plain.path_index.index(HEADS[1])
    torch.testing.assert_close(twice.coefficients[..., place], (1 - strength) * plain.coefficients[..., place])


def test_edits_are_laid_over_each_other(tiny, pixels, axes):
    means = Moments().update(tiny.decompose(pixels).head_effects()).mean
    removal, ablation = made(tiny, pixels, axes, "terms"), Ablation.of(tiny, HEADS, means)
    one, other = ablation.apply(removal.apply(tiny)), removal.apply(ablation.apply(tiny))
    torch.testing.assert_close(one.encode_image(pixels), other.encode_image(pixels), rtol=1e-4, atol=1e-4)
    assert one.decompose(pixels).residual() < 1e-5


def test_axes_that_are_none_are_refused(tiny, axes):
    with pytest.raises(SummandError, match="orthonormal rows"):
        AxisRemoval.of(tiny, axes * 2, torch.zeros(16))
    with pytest.raises(SummandError, match="heads go with where='heads'"):
        AxisRemoval.of(tiny, axes, torch.zeros(16), "terms", HEADS)
    with pytest.raises(SummandError, match=r"3 × 2 heads, no \(3, 0\)"):
        AxisRemoval.of(tiny, axes, torch.zeros(16), "heads", [(3, 0)])
