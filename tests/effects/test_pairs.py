from __future__ import annotations

from typing import Any

import pytest
import torch

import summand
from summand.border import foreign
from tests.border import configuration
from tests.oracles import literal_pairs
from tests.towers.shrink import build, shrink
from tests.towers.test_towers import small_resnet, small_vit


def small(name: str) -> Any:
    """A configuration of open_clip at a size that a test can run."""
    return build(shrink(configuration(name)))


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).abs().max() / truth.abs().max())


def entering(module: Any, run) -> torch.Tensor:
    """What a module was given, and the run's result."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    run()
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("positions", [True, False])
def test_pairs_of_a_resnet_equal_the_literal_formula_and_sum_to_the_output(positions):
    clip = small_resnet(width=2)
    model, pool = summand.wrap(clip), clip.visual.attnpool
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    grids = entering(pool, lambda: model.encode_image(x))
    effects = model.pairs(x, positions=positions)
    vectors = effects.vectors()
    size = pool.v_proj.in_features // pool.num_heads
    for i in range(2):
        patches = grids[i].flatten(1).T
        z = torch.cat([patches.mean(dim=0, keepdim=True), patches])
        placed = z + pool.positional_embedding
        rows = [slice(h * size, (h + 1) * size) for h in range(pool.num_heads)]
        q = pool.q_proj(placed[0])
        a = torch.stack([(pool.k_proj(placed)[:, r] @ q[r] / size**0.5).softmax(dim=0) for r in rows])
        value, write = [pool.v_proj.weight[r] for r in rows], [pool.c_proj.weight[:, r] for r in rows]
        literal = literal_pairs(placed if positions else z, a, value, write)
        torch.testing.assert_close(vectors[i], literal, rtol=0, atol=1e-12)
    assert relative(vectors.sum(dim=(1, 2)) + effects.rest, model.encode_image(x)) < 1e-12
    assert effects.units == ("neuron", "head")
    assert effects.coefficients.shape == (2, pool.v_proj.in_features, pool.num_heads, 1)
    torch.testing.assert_close(effects.norms(), vectors.norm(dim=-1), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(effects.sum_over_last_unit().vectors(), vectors.sum(dim=2))


def test_pairs_of_a_resnet_leave_the_biases():
    """All that is no pair: every head's value bias through W_O, and the output bias."""
    clip = small_resnet()
    pool = clip.visual.attnpool
    rest = summand.wrap(clip).pairs(torch.randn(2, 3, 64, 64, dtype=torch.float64)).rest
    torch.testing.assert_close(rest, pool.c_proj(pool.v_proj.bias).expand(2, -1))


def test_pairs_of_siglip_equal_the_literal_formula_and_sum_to_the_output():
    clip = small("ViT-B-16-SigLIP")
    model, trunk = summand.wrap(clip), clip.visual.trunk
    pool = trunk.attn_pool
    x = torch.randn(2, 3, *model.tower.image_size, dtype=torch.float64)
    tokens = entering(pool, lambda: model.encode_image(x))
    effects = model.pairs(x)
    vectors = effects.vectors()
    width, size = tokens.shape[-1], tokens.shape[-1] // pool.num_heads
    query = pool.q(pool.latent[0])[0]
    for i in range(2):
        key = tokens[i] @ pool.kv.weight[:width].T + pool.kv.bias[:width]
        rows = [slice(h * size, (h + 1) * size) for h in range(pool.num_heads)]
        a = torch.stack([(key[:, r] @ query[r] / size**0.5).softmax(dim=0) for r in rows])
        value, write = [pool.kv.weight[width:][r] for r in rows], [pool.proj.weight[:, r] for r in rows]
        literal = literal_pairs(tokens[i], a, value, write)
        torch.testing.assert_close(vectors[i], foreign(model.tower)._projection(literal), rtol=0, atol=1e-12)
    parts = model.decompose(x)
    assert relative(vectors.sum(dim=(1, 2)) + effects.rest, model.encode_image(x)) < 1e-12
    value_bias = pool.proj.weight @ pool.kv.bias[width:]
    expected = parts.bias() + parts.mlps().sum(dim=1) + foreign(model.tower)._projection(value_bias)
    torch.testing.assert_close(effects.rest, expected)
    torch.testing.assert_close(model.pairs(x, positions=False).coefficients, effects.coefficients)  # it has none


def test_pairs_behind_a_norm_sum_to_the_output():
    model = summand.wrap(small("coca_ViT-B-32"))
    x = torch.randn(2, 3, *model.tower.image_size, dtype=torch.float64)
    effects = model.pairs(x)
    assert relative(effects.vectors().sum(dim=(1, 2)) + effects.rest, model.encode_image(x)) < 1e-12


def test_directions_follow_weights_that_are_changed_in_place():
    clip = small_resnet()
    model = summand.wrap(clip)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert model.pairs(x).basis is model.pairs(x).basis
    with torch.no_grad():
        clip.visual.attnpool.v_proj.weight.mul_(2)
        clip.visual.attnpool.c_proj.weight.add_(0.1)
    effects = model.pairs(x)
    assert relative(effects.vectors().sum(dim=(1, 2)) + effects.rest, model.encode_image(x)) < 1e-12


def test_pairs_of_the_shipped_model(resnet):
    x = resnet.preprocess(summand.scenes.sample(3, seed=5).images)
    effects = resnet.pairs(x)
    assert relative(effects.vectors().sum(dim=(1, 2)) + effects.rest, resnet.encode_image(x)) < 1e-5


def test_a_tower_without_a_pool_is_refused():
    with pytest.raises(summand.SummandError, match=r"VisionTransformer\. model\.second_order"):
        summand.wrap(small_vit()).pairs(torch.randn(1, 3, 32, 32, dtype=torch.float64))
