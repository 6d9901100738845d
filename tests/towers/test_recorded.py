"""A pass that is played back gives what the pass itself gives, of any pixels and of the weights as they are now."""

from __future__ import annotations

import pytest
import torch

import summand
from tests.counting import Passes
from tests.towers.test_towers import small_resnet, small_vit


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * float(other.abs().max()))


@pytest.fixture
def clip():
    return small_vit()  # in fp64


@torch.no_grad()
def test_other_pixels_are_answered_as_without(clip):
    plain, model = summand.wrap(clip), summand.wrap(clip)
    assert model.compile(batch_size=2) is model
    for count in (2, 2, 3):
        x = torch.randn(count, 3, 32, 32, dtype=torch.float64)
        want, got = plain.decompose(x), model.decompose(x)
        close(got.heads(), want.heads())
        close(got.mlps(), want.mlps())
        close(got.embedding(), want.embedding())
        close(got.bias(), want.bias())
        assert got.residual() < 1e-12
        close(got.trace.values, want.trace.values)


@torch.no_grad()
def test_a_played_pass_calls_no_module_of_the_model(clip):
    model, x = summand.wrap(clip).compile(batch_size=2), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model.decompose(x).heads()
    with Passes() as seen:
        model.decompose(x).heads()
    assert seen.batches == []
    with Passes() as seen:
        model.decompose(x[:1]).heads()
    assert seen.batches == [1]


@torch.no_grad()
def test_a_changed_weight_is_seen(clip):
    model, x = summand.wrap(clip).compile(batch_size=1), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    before = model.decompose(x).heads()
    clip.visual.transformer.resblocks[1].mlp.c_fc.weight.mul_(1.5)
    parts = model.decompose(x)
    close(parts.heads(), summand.wrap(clip).decompose(x).heads())
    assert (parts.heads() - before).abs().max() > 1e-3
    assert parts.residual() < 1e-12


@torch.no_grad()
def test_what_looks_inside_a_pass_still_does(clip):
    plain, model = summand.wrap(clip), summand.wrap(clip).compile(batch_size=1)
    x, texts = torch.randn(1, 3, 32, 32, dtype=torch.float64), torch.randn(3, 24, dtype=torch.float64)
    model.decompose(x).heads()
    close(model.decompose(x).tokens_toward(texts), plain.decompose(x).tokens_toward(texts))
    close(model.first_order(x, 1).coefficients, plain.first_order(x, 1).coefficients)
    close(model.second_order(x, 0).coefficients, plain.second_order(x, 0).coefficients)


def test_what_cannot_be_written_down_is_refused(clip):
    with pytest.raises(summand.SummandError, match="cannot be written down"):
        summand.wrap(small_resnet()).compile()
    clip.visual.ln_post.register_forward_hook(lambda module, args, output: None)
    with pytest.raises(summand.SummandError, match="code of your own"):
        summand.wrap(clip).compile()
    with pytest.raises(summand.SummandError, match="at least 1"):
        summand.wrap(small_vit()).compile(batch_size=0)
