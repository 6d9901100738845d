from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import summand
from tests.border import open_clip
from tests.counting import Read
from tests.oracles import literal_attention_pool, literal_vit, perturb


def small_vit(**vision) -> Any:
    torch.manual_seed(0)
    config = {"image_size": 32, "patch_size": 8, "layers": 3, "width": 48, "head_width": 12, **vision}
    text = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    return perturb(open_clip.CLIP(embed_dim=24, vision_cfg=config, text_cfg=text)).double().eval()


def small_resnet(width: int = 8, image_size: int = 64) -> Any:
    torch.manual_seed(0)
    config = {"image_size": image_size, "layers": [1, 1, 1, 1], "width": width, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    return perturb(open_clip.CLIP(embed_dim=20, vision_cfg=config, text_cfg=text)).double().eval()


@pytest.mark.parametrize("vision", [{}, {"ls_init_value": 0.3}, {"no_ln_pre": True}, {"image_size": (32, 48)}])
def test_vit_terms_equal_the_literal_formula(vision):
    clip = small_vit(**vision)
    model = summand.wrap(clip)
    x = torch.randn(3, 3, *model.tower.image_size, dtype=torch.float64)
    parts = model.decompose(x)
    everything = parts.toward(torch.eye(24, dtype=torch.float64))
    heads = model.decompose(x).heads()
    for i in range(len(x)):
        truth = literal_vit(clip.visual, x[i])
        torch.testing.assert_close(everything[i], truth["tokens"], rtol=0, atol=1e-12)
        torch.testing.assert_close(heads[i], truth["tokens"].sum(dim=2), rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.tokens()[i], truth["tokens"].sum(dim=(0, 1)), rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.mlps()[i], truth["mlps"], rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.embedding()[i], truth["embedding"], rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.bias()[i], truth["bias"], rtol=0, atol=1e-12)
        torch.testing.assert_close(model.encode_image(x)[i], truth["output"], rtol=0, atol=1e-12)


@given(
    heads=st.integers(1, 4),
    channels=st.integers(1, 9),
    layers=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    batch=st.integers(1, 3),
    texts=st.integers(1, 30),
    pool=st.sampled_from([{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}]),
    seed=st.integers(0, 1000),
)
def test_vit_sums_exactly_for_any_shape(heads, channels, layers, rows, columns, batch, texts, pool, seed):
    shape = {"layers": layers, "width": heads * channels, "head_width": channels}
    clip = small_vit(**shape, patch_size=4, image_size=(4 * rows, 4 * columns), **pool)
    model = summand.wrap(clip)
    x = torch.randn(batch, 3, 4 * rows, 4 * columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    parts = model.decompose(x)
    truth = model.encode_image(x)
    assert (parts.total() - truth).abs().max() <= 1e-12 * truth.abs().max()
    heads = parts.heads()  # of a pass that never saw a token's values
    assert (parts.tokens().sum(dim=1) - heads.sum(dim=(1, 2))).abs().max() <= 1e-12 * truth.abs().max()
    assert model.tower.grid == (rows, columns)
    everything = parts.toward(torch.eye(24, dtype=torch.float64))
    assert (everything.sum(dim=3) - heads).abs().max() <= 1e-12 * truth.abs().max()
    some = torch.randn(texts, 24, dtype=torch.float64)
    torch.testing.assert_close(parts.toward(some), everything @ some.T, rtol=0, atol=1e-11)
    torch.testing.assert_close(parts.tokens_toward(some), parts.tokens() @ some.T, rtol=0, atol=1e-11)


@given(width=st.integers(1, 3), side=st.integers(1, 3), batch=st.integers(1, 3))
@settings(max_examples=8)
def test_resnet_sums_exactly_for_any_shape(width, side, batch):
    model = summand.wrap(small_resnet(width=8 * width, image_size=32 * side))
    x = torch.randn(batch, 3, 32 * side, 32 * side, dtype=torch.float64)
    parts, truth = model.decompose(x), model.encode_image(x)
    size = truth.abs().max()
    assert (parts.total() - truth).abs().max() <= 1e-12 * size
    assert (parts.tokens().sum(dim=1) - parts.heads().sum(dim=(1, 2))).abs().max() <= 1e-12 * size
    one = torch.randn(1, 20, dtype=torch.float64)
    torch.testing.assert_close(parts.tokens_toward(one), parts.tokens() @ one.T, rtol=0, atol=1e-11)


def test_resnet_terms_equal_the_literal_formula():
    clip = small_resnet()
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    parts = model.decompose(x)
    grids = []
    handle = clip.visual.attnpool.register_forward_pre_hook(lambda _, args: grids.append(args[0]))
    truth = model.encode_image(x)
    handle.remove()
    everything = parts.toward(torch.eye(20, dtype=torch.float64))
    for i in range(2):
        literal = literal_attention_pool(clip.visual.attnpool, grids[0][i])
        torch.testing.assert_close(everything[i, 0], literal, rtol=0, atol=1e-12)
    assert (parts.total() - truth).abs().max() <= 1e-12 * truth.abs().max()
    assert parts.mlps().shape == (2, 0, 20)
    assert not parts.embedding().any()


def test_a_pass_leaves_the_model_as_it_was():
    clip = small_vit()
    before = {key: value.clone() for key, value in clip.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in clip.modules()]
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    truth = clip.encode_image(x)
    summand.wrap(clip).decompose(x).tokens()
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in clip.modules()] == hooks
    assert all(torch.equal(before[key], value) for key, value in clip.state_dict().items())
    assert torch.equal(clip.encode_image(x), truth)


def test_hooks_go_when_the_forward_pass_fails(monkeypatch):
    clip = small_vit()
    monkeypatch.setattr(clip.visual.transformer.resblocks[1].mlp, "forward", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        summand.wrap(clip).decompose(torch.randn(1, 3, 32, 32, dtype=torch.float64)).heads()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in clip.modules())


def test_the_last_block_is_computed_for_the_class_token_only():
    clip = small_vit()
    model, x = summand.wrap(clip), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model.decompose(x).heads()  # the guard looks as well
    with Read([block.mlp.c_fc.weight for block in clip.visual.transformer.resblocks]) as read:
        model.decompose(x).heads()
    assert [shape[1] for shape in read.shapes] == [17, 17, 1]


def test_maps_follow_weights_that_are_changed_in_place():
    clip = small_vit()
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model.decompose(x).heads()
    with torch.no_grad():
        clip.visual.transformer.resblocks[1].attn.out_proj.weight.mul_(2)
        clip.visual.proj.add_(0.1)
        clip.visual.transformer.resblocks[2].attn.in_proj_weight.mul_(1.5)
    assert model.decompose(x).residual() < 1e-12


def test_maps_follow_weights_that_are_replaced():
    clip = small_vit()
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model.decompose(x).heads()
    for block in clip.visual.transformer.resblocks:
        block.attn.in_proj_weight = torch.nn.Parameter(torch.randn_like(block.attn.in_proj_weight))
        block.attn.in_proj_bias.data = torch.randn_like(block.attn.in_proj_bias)
    assert model.decompose(x).residual() < 1e-12
    clip.float()
    assert model.decompose(x.float()).residual() < 1e-5


def test_unsupported_towers_are_refused_by_name():
    with pytest.raises(summand.SummandError, match="VisionTransformer cannot be taken apart: pool_type='none'"):
        summand.wrap(small_vit(pool_type="none"))
    with pytest.raises(summand.SummandError, match="Linear has no image tower"):
        summand.wrap(torch.nn.Linear(2, 2))
