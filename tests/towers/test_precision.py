"""bf16 and fp16 weights and autocast: σ, the attention row and all sums are fp32 whatever the model computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

import summand
from tests.border import configuration
from tests.towers.shrink import build, shrink
from tests.towers.test_towers import small_resnet, small_vit

MODES = ["bf16", "fp16", "autocast"]
VITS = [{}, {"pool_type": "avg"}, {"scale_attn_inner": True}, {"attentional_pool": True, "attn_pooler_heads": 4}]


def in_precision(clip: Any, mode: str) -> tuple[summand.Model, torch.Tensor, AbstractContextManager]:
    """The model, pixels that it takes, and the context in which it runs."""
    clip = clip.float()
    if mode != "autocast":
        clip = clip.to(torch.bfloat16 if mode == "bf16" else torch.float16)
    model = summand.wrap(clip)
    x = torch.randn(2, 3, *model.tower.image_size).to(model.dtype)
    return model, x, torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else nullcontext()


def check(clip: Any, mode: str) -> None:
    model, x, context = in_precision(clip, mode)
    with context:
        parts, seen, embed = model.decompose(x), [], model.tower.embed
        model.tower.run(x, lambda _, view: seen.append((view.row, view.values(), view.token_values())))
        heads, tokens, total = parts.heads(), parts.tokens(), parts.total()
        everything, residual = parts.toward(torch.eye(embed)), parts.residual()
        trace = parts.trace
    terms = [trace.values, trace.scale, trace.embedding, trace.mlps, trace.bias, heads, tokens, total, everything]
    assert all(term.dtype == torch.float32 for term in terms)
    size = total.abs().max()
    for row, values, token_values in seen:
        assert row.dtype == torch.float32
        # bf16 keeps 8 bits: any of these made in it would be off by more than a thousandth
        torch.testing.assert_close(token_values.sum(dim=1), values, rtol=0, atol=1e-5 * float(values.abs().max()))
    assert (everything.sum(dim=3) - heads).abs().max() <= 1e-5 * size
    assert (tokens.sum(dim=1) - heads.sum(dim=(1, 2))).abs().max() <= 1e-5 * size
    assert residual < 0.05


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vision", VITS)
def test_vision_transformers(vision, mode):
    check(small_vit(**vision), mode)


@pytest.mark.parametrize("mode", MODES)
def test_resnet(mode):
    check(small_resnet(), mode)


@pytest.mark.parametrize("mode", MODES)
def test_siglip_pool(mode):
    check(build(shrink(configuration("ViT-B-16-SigLIP"))), mode)


@pytest.mark.parametrize("mode", MODES)
def test_the_row_of_a_class_token_sums_to_one_in_fp32(mode):
    model, x, context = in_precision(small_vit(), mode)
    sums = []
    with context:
        model.tower.run(x, lambda _, view: sums.append(view.row.sum(dim=-1)))
    assert len(sums) == 3
    torch.testing.assert_close(torch.stack(sums), torch.ones(3, 2, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_the_other_effects(mode):
    model, x, context = in_precision(small_vit(), mode)
    with context:
        second = model.second_order(x, layer=0)
    assert second.coefficients.dtype == second.directions.dtype == torch.float32
    model, x, context = in_precision(small_resnet(), mode)
    with context:
        pairs, total = model.pairs(x), model.decompose(x).total()
    assert pairs.rest is not None
    whole = pairs.vectors().sum(dim=(1, 2)) + pairs.rest
    torch.testing.assert_close(whole, total, rtol=0, atol=1e-4 * float(total.abs().max()))


def test_text_towers_under_autocast(vit):
    exact = vit.decompose_text("a red star").heads()
    with torch.autocast("cpu", torch.bfloat16):
        parts = vit.decompose_text("a red star")
        heads, tokens = parts.heads(), parts.tokens()
    assert heads.dtype == tokens.dtype == torch.float32
    torch.testing.assert_close(tokens.sum(dim=1), heads.sum(dim=(1, 2)), rtol=0, atol=1e-5 * float(exact.abs().max()))
    torch.testing.assert_close(heads, exact, rtol=0, atol=0.05 * float(exact.abs().max()))
