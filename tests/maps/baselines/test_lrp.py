"""Relevance: rules written out, conservation, and the epsilon rule as gradient × input of a network of fixed gates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from summand.maps.baselines import Capture, baseline_maps, relevance
from summand.maps.baselines.lrp import relevance_of
from summand.maps.baselines.relevance import of_linear, of_product, of_sum

from . import literal


@settings(max_examples=8)
@given(seed=st.integers(0, 2**31), rule=st.sampled_from(["positive", "epsilon"]))
def test_the_rule_of_a_linear_map(seed, rule):
    generator = np.random.default_rng(seed)
    x, w, given_relevance = (generator.normal(size=shape) for shape in ((2, 5), (4, 5), (3, 2, 4)))
    found = of_linear(torch.from_numpy(x), torch.from_numpy(w), torch.from_numpy(given_relevance), rule)
    for text in range(3):
        for row in range(2):
            expected = np.zeros(5)
            for i in range(4):
                parts = x[row] * w[i]
                parts = np.maximum(parts, 0) if rule == "positive" else parts
                if parts.any():
                    expected += parts / parts.sum() * given_relevance[text, row, i]
            np.testing.assert_allclose(found[text, row], expected, atol=1e-5, rtol=1e-5)


def test_the_rules_of_products_and_sums():
    generator = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(2, 3, 3, generator=generator).double() for _ in range(3))
    given_relevance = torch.randn(4, 2, 3, 3, generator=generator).double()
    left, right = of_product(a, b, given_relevance)
    i, j = 1, 2
    expected = sum(a[0, i, j] * b[0, j, k] / (a[0, i] @ b[0, :, k]) * given_relevance[3, 0, i, k] for k in range(3)) / 2
    torch.testing.assert_close(left[3, 0, i, j], expected)
    torch.testing.assert_close(left.sum(dim=(2, 3)), given_relevance.sum(dim=(2, 3)) / 2)
    torch.testing.assert_close(right.sum(dim=(2, 3)), given_relevance.sum(dim=(2, 3)) / 2)
    first, second = of_sum(a, c, given_relevance, "positive")
    u, v = a[0] / (a[0] + c[0]) * given_relevance[1, 0], c[0] / (a[0] + c[0]) * given_relevance[1, 0]
    whole = given_relevance[1, 0].sum()
    scale = u.sum().abs() / (u.sum().abs() + v.sum().abs()) * whole / u.sum()
    torch.testing.assert_close(first[1, 0], u * scale)
    torch.testing.assert_close((first + second).sum(dim=(2, 3)), given_relevance.sum(dim=(2, 3)))


def test_relevance_is_conserved(small, small_pixels, texts, monkeypatch):
    monkeypatch.setattr(relevance, "_EPSILON", 1e-30)  # what the epsilon rule swallows is not conserved
    seen = Capture(small, small_pixels)
    found, attention = relevance_of(seen, texts, "positive")
    torch.testing.assert_close(found.sum(dim=(2, 3)), torch.ones(2, 3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert [rows.shape for rows in attention] == [(2, 3, 2, 17, 17)] * 3
    with torch.no_grad():
        scores = small.encode_image(small_pixels) @ texts.T  # this tower's projection has no bias
    found, _ = relevance_of(seen, texts, "epsilon")
    torch.testing.assert_close(found.sum(dim=(2, 3)), scores.T, atol=1e-4, rtol=1e-4)


def gated_score(visual, z, text, rows):
    """The network from the first block on, each operation made linear in its input (or in both factors, by halves) by
    a gate that is held fixed: LRP-0 is gradient × input of this. `rows` collects the attention of each layer."""

    def fixed(output, of):
        return of * (output / of).detach()

    def linear(x, weight, bias):
        return fixed(x @ weight.T + bias, x @ weight.T)

    def product(a, b):
        return (a.detach() @ b + a @ b.detach()) / 2

    for block in visual.transformer.resblocks:
        n = fixed(block.ln_1(z), z)
        heads, attn = block.attn.num_heads, block.attn
        q, k, v = (
            linear(n, w, b).unflatten(1, (heads, -1)).transpose(0, 1)
            for w, b in zip(attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3), strict=True)
        )
        logits = product(q, k.transpose(1, 2)) / q.shape[-1] ** 0.5
        a = fixed(logits.softmax(dim=-1), logits)
        rows.append(a)
        z = z + linear(product(a, v).transpose(0, 1).flatten(1), attn.out_proj.weight, attn.out_proj.bias)
        m = fixed(block.ln_2(z), z)
        before = linear(m, block.mlp.c_fc.weight, block.mlp.c_fc.bias)
        hidden = fixed(block.mlp.gelu(before), before)
        z = z + linear(hidden, block.mlp.c_proj.weight, block.mlp.c_proj.bias)
    return fixed(visual.ln_post(z[0]), z[0]) @ visual.proj @ text


def test_the_epsilon_rule_is_gradient_times_input_of_the_gated_network(small, small_pixels, texts):
    visual = small.clip.visual
    found, attention = relevance_of(Capture(small, small_pixels), texts, "epsilon")
    for image in range(3):
        z = literal.walk(visual, small_pixels[image]).layers[0].z.detach().requires_grad_()
        rows: list[torch.Tensor] = []
        value = gated_score(visual, z, texts[1], rows)
        gradients = torch.autograd.grad(value, [z, *rows])
        scale = found[1, image].abs().max()
        torch.testing.assert_close(found[1, image] / scale, z.detach() * gradients[0] / scale, atol=1e-4, rtol=1e-3)
        for layer in range(3):
            expected = rows[layer].detach() * gradients[1 + layer]
            scale = expected.abs().max()
            torch.testing.assert_close(attention[layer][1, image] / scale, expected / scale, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("rule", ["positive", "epsilon"])
def test_the_maps_are_made_of_the_relevance(rule, small, small_pixels, texts):
    tokens, attention = relevance_of(Capture(small, small_pixels), texts, rule)
    maps = baseline_maps(small, small_pixels, texts, "lrp", rule=rule)
    torch.testing.assert_close(maps[2, 1].flatten(), tokens[1, 2, 1:].sum(dim=1))
    maps = baseline_maps(small, small_pixels, texts, "partial-lrp", rule=rule)
    torch.testing.assert_close(maps[2, 1].flatten(), attention[-1][1, 2, :, 0, 1:].clamp(min=0).mean(dim=0))
    maps = baseline_maps(small, small_pixels, texts, "transformer-attribution", rule=rule)
    joint = torch.eye(17, dtype=torch.float64)
    for layer in range(3):
        _, gradient = literal.attention_gradient(small.clip.visual, small_pixels[2], texts[1], layer)
        bar = sum((gradient[h] * attention[layer][1, 2, h]).clamp(min=0) for h in range(2)) / 2
        joint = (torch.eye(17) + bar) @ joint
    torch.testing.assert_close(maps[2, 1].flatten(), joint[0, 1:])
