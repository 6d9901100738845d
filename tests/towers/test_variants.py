"""Structural switches that no shipped configuration sets, and literal formulas for the towers without a class token."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

import summand
from summand.border import foreign
from tests.border import configuration, open_clip
from tests.oracles import literal_averaged_vit, literal_latent_pool, perturb
from tests.towers.shrink import build
from tests.towers.test_towers import small_vit


def check(clip: Any, images: int = 2, within: float = 1e-12) -> summand.Model:
    """Σ terms = encode_image, heads = Σ tokens, in fp64; and no head is trivial."""
    model = summand.wrap(clip)
    x = torch.randn(images, 3, *model.tower.image_size, dtype=torch.float64)
    truth, parts = model.encode_image(x), model.decompose(x)
    size = truth.abs().max()
    assert (parts.total() - truth).abs().max() <= within * size
    heads = parts.heads()  # of a pass that never saw a token's values
    everything = parts.toward(torch.eye(model.tower.embed, dtype=torch.float64))
    assert (everything.sum(dim=3) - heads).abs().max() <= 1e-12 * size
    assert (parts.tokens().sum(dim=1) - heads.sum(dim=(1, 2))).abs().max() <= 1e-12 * size
    assert parts.heads().abs().amax(dim=(0, 3)).min() > 1e-5 * size
    return model


SWITCHES = ["qk_norm", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"]


@pytest.mark.parametrize("pool", [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}])
@pytest.mark.parametrize("switches", [*([s] for s in SWITCHES), SWITCHES])
def test_custom_blocks(switches, pool):
    check(small_vit(**dict.fromkeys(switches, True), **pool, ls_init_value=0.5))


def test_cosine_attention(monkeypatch):
    # open_clip 3.3 calls bmm on four axes here, so its own forward fails; its main branch has matmul.
    monkeypatch.setattr(torch, "bmm", torch.matmul)
    check(small_vit(scaled_cosine_attn=True))


@pytest.mark.parametrize(
    "vision",
    [
        {"pos_embed_type": "sin_cos_2d"},
        {"patch_dropout": 0.5},
        {"block_type": "custom"},
        {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 5, "pool_type": "avg"},
        {"image_size": 8, "pool_type": "avg"},
        {"image_size": (16, 32), "pool_type": "avg", "no_ln_pre": True},
    ],
)
def test_other_switches(vision):
    check(small_vit(**vision))


@pytest.mark.parametrize("after", [True, False])
def test_average_pooling_equals_the_literal_formula(after):
    clip = small_vit(pool_type="avg", final_ln_after_pool=after, ls_init_value=0.4, image_size=(16, 24))
    model = check(clip)
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    parts = model.decompose(x)
    everything = parts.toward(torch.eye(24, dtype=torch.float64))
    for i in range(2):
        truth = literal_averaged_vit(clip.visual, x[i])
        torch.testing.assert_close(everything[i], truth["tokens"], rtol=0, atol=1e-12)
        for term in ("mlps", "embedding", "bias"):
            torch.testing.assert_close(getattr(parts, term)()[i], truth[term], rtol=0, atol=1e-12)


def entering(module: Any, model: summand.Model, x: torch.Tensor) -> torch.Tensor:
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.encode_image(x)
    handle.remove()
    return seen[0]


def test_attentional_pooler_equals_the_literal_formula():
    clip = small_vit(attentional_pool=True, attn_pooler_heads=4, attn_pooler_queries=5)
    pool, norm, projection = clip.visual.attn_pool, clip.visual.ln_post, clip.visual.proj
    model = check(clip)
    x = torch.randn(2, 3, *model.tower.image_size, dtype=torch.float64)
    tokens, parts = entering(pool, model, x), model.decompose(x)
    everything = parts.toward(torch.eye(24, dtype=torch.float64))
    for i in range(2):
        terms, bias = literal_latent_pool(pool.attn, pool.ln_q(pool.query)[0], pool.ln_k(tokens[i]))
        pooled = terms.sum(dim=(0, 1)) + bias
        sigma = (pooled.var(correction=0) + norm.eps).sqrt()
        literal = ((terms - terms.mean(dim=-1, keepdim=True)) / sigma * norm.weight) @ projection
        torch.testing.assert_close(everything[i, 0], literal, rtol=0, atol=1e-12)
        constant = ((bias - bias.mean()) / sigma * norm.weight + norm.bias) @ projection
        torch.testing.assert_close(parts.bias()[i], constant, rtol=0, atol=1e-12)
    assert parts.mlps().shape == (2, 0, 24)


def test_unfinished_poolers_are_refused():
    clip = small_vit(attentional_pool="parallel", attn_pooler_heads=4, attn_pooler_queries=5)
    with pytest.raises(summand.SummandError, match="'parallel' is unfinished in open_clip"):
        summand.wrap(clip)


def timm_clip(trunk: Any, head: Any | None = None) -> Any:
    """open_clip's TimmModel around a trunk made by hand."""
    visual = open_clip.timm_model.TimmModel.__new__(open_clip.timm_model.TimmModel)
    torch.nn.Module.__init__(visual)
    visual.trunk, visual.head = trunk, head or torch.nn.Sequential()
    for parameter in visual.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    clip = torch.nn.Module()
    clip.visual = perturb(visual).double().eval()
    clip.encode_image = lambda x, normalize=False: visual(x)
    return clip


TIMM = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 24}


@pytest.mark.parametrize(
    "options",
    [
        {"global_pool": "avg", "fc_norm": False},
        {"global_pool": "token", "block_fn": timm.models.vision_transformer.ResPostBlock, "init_values": 0.5},
        {"global_pool": "avg", "block_fn": timm.models.vision_transformer.ResPostBlock},
        {"global_pool": "avg", "pool_include_prefix": True, "reg_tokens": 2},
        {"global_pool": "token", "qk_norm": True, "scale_attn_norm": True, "init_values": 0.5},
        {"global_pool": "token", "final_norm": False},
        {"global_pool": "map", "fc_norm": True},
        {"global_pool": "map", "class_token": False},
    ],
)
def test_timm_vision_transformer(options):
    check(timm_clip(timm.models.vision_transformer.VisionTransformer(**TIMM, **options)))


@pytest.mark.parametrize(
    "options",
    [
        {"global_pool": "avg", "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True},
        {"global_pool": "token", "qkv_fused": False, "init_values": 0.5, "num_reg_tokens": 2},
        {"global_pool": "avg", "rope_type": "mixed", "use_fc_norm": False, "class_token": False},
        {"global_pool": "token", "rope_rotate_half": True, "attn_type": "rope", "qkv_fused": False, "num_kv_heads": 2},
        {"global_pool": "token", "use_post_norm": True, "scale_attn_inner": True, "qkv_bias": False},
        {"global_pool": "avg", "use_post_norm": True, "qk_norm": False, "num_reg_tokens": 1, "use_fc_norm": False},
        {"global_pool": "map", "qk_norm": True, "attn_pool_num_heads": 8},
    ],
)
def test_eva(options):
    check(timm_clip(timm.models.eva.Eva(**TIMM, use_rot_pos_emb=True, dynamic_img_size=False, **options)))


@pytest.mark.parametrize("options", [{"shared_rel_pos": True}, {"rel_pos_type": "bias", "global_pool": "avg"}])
def test_relative_positions(options):
    options = {"class_token": True, "global_pool": "token", "init_values": 0.5, **options}
    check(timm_clip(timm.models.vision_transformer_relpos.VisionTransformerRelPos(**TIMM, **options)))


def test_siglip_pool_equals_the_literal_formula():
    trunk = foreign(timm.models.vision_transformer).VisionTransformer(**{**TIMM, "num_classes": 0}, global_pool="map")
    clip = timm_clip(trunk)
    model, pool = check(clip), trunk.attn_pool
    attention = torch.nn.MultiheadAttention(32, 4, batch_first=True).double()
    attention.in_proj_weight.data = torch.cat([pool.q.weight, pool.kv.weight])
    attention.in_proj_bias.data = torch.cat([pool.q.bias, pool.kv.bias])
    attention.out_proj.load_state_dict(pool.proj.state_dict())
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    tokens, parts = entering(pool, model, x), model.decompose(x)
    everything = parts.toward(torch.eye(32, dtype=torch.float64))
    for i in range(2):
        terms, bias = literal_latent_pool(attention, pool.latent[0, 0], tokens[i])
        pooled = terms.sum(dim=(0, 1)) + bias
        torch.testing.assert_close(everything[i, 0], terms, rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.mlps()[i, 0], pool.mlp(pool.norm(pooled)), rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.bias()[i], bias, rtol=0, atol=1e-12)
    assert model.tower.prefix == 0


@pytest.mark.parametrize(
    ("trunk", "head", "reason"),
    [
        ({"global_pool": "max"}, None, "pooling 'max' is not linear"),
        ({"global_pool": "token"}, {"mlp": torch.nn.Linear(24, 24)}, "projection head is an MLP"),
        ({"global_pool": "prr"}, None, "AttentionPoolPrr"),
        ({"norm_layer": foreign(timm.layers).RmsNorm, "global_pool": "token"}, None, "final norm is a RmsNorm"),
        ({"attn_layer": "diff", "global_pool": "token"}, None, "attention is a DiffAttention"),
        ({"block_fn": timm.models.vision_transformer.ParallelScalingBlock}, None, "blocks are ParallelScalingBlock"),
    ],
)
def test_what_is_not_a_sum_is_refused(trunk, head, reason):
    trunk = timm.models.vision_transformer.VisionTransformer(**TIMM, **{"global_pool": "token", **trunk})
    sequence = torch.nn.Sequential()
    for name, module in (head or {}).items():
        sequence.add_module(name, module)
    with pytest.raises(summand.SummandError, match=reason):
        summand.wrap(timm_clip(trunk, sequence))


def test_a_gated_attention_is_refused():
    clip = timm_clip(timm.models.eva.Eva(**TIMM, global_pool="token"))
    clip.visual.trunk.blocks[0].attn.gate = torch.nn.Linear(32, 32)
    with pytest.raises(summand.SummandError, match="output gate"):
        summand.wrap(clip)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-SigLIP", "EVA02-B-16", "RN50", "coca_ViT-B-32"])
def test_larger_inputs_give_finer_maps(name):
    from tests.towers.shrink import shrink

    small = shrink(configuration(name))
    clip = build(small)
    before = summand.wrap(clip).tower
    if "timm" in small:
        clip.visual.set_input_size(2 * before.image_size[0])  # what force_image_size calls
    else:
        small["vision"]["image_size"] = 2 * before.image_size[0]
        clip = build(small)
    model = check(clip)
    assert model.tower.image_size == (2 * before.image_size[0],) * 2
    assert model.tower.grid == (2 * before.grid[0],) * 2


def test_means_over_many_queries_are_taken_in_portions(monkeypatch):
    clip = small_vit(pool_type="avg", scale_attn_inner=True)
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    whole = model.decompose(x).heads()
    monkeypatch.setattr("summand.towers.attention._AT_ONCE", 500)
    torch.testing.assert_close(model.decompose(x).heads(), whole, rtol=0, atol=1e-13)
