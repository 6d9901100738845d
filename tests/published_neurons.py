"""The published way to compute second-order effects and neuron–head pairs (papers A and B), transcribed literally.

`literal_*` are loops over neurons, heads and tokens for one image. `published_second_order` is what the code of paper A
does for a layer: for every later head, every neuron's write at every token as a vector of its own, [image, token,
neuron, width], through ln_1, the head for all queries, and the output. It is what the benchmark compares with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def observed(visual: Any, image: Tensor, layer: int) -> dict[str, Tensor]:
    """One image [3, h, w] through an open_clip VisionTransformer, and what the published code keeps of the pass."""
    z = visual.conv1(image[None])[0].flatten(1).T
    z = visual.ln_pre(torch.cat([visual.class_embedding[None], z]) + visual.positional_embedding)
    rows, means, deviations, hidden = [], [], [], torch.empty(0)
    for at, block in enumerate(visual.transformer.resblocks):
        size = z.shape[1] // block.attn.num_heads
        means.append(z.mean(dim=-1)), deviations.append((z.var(dim=-1, correction=0) + block.ln_1.eps).sqrt())
        n = block.ln_1(z)
        q, k, v = (n @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
        cut = [slice(h * size, (h + 1) * size) for h in range(block.attn.num_heads)]
        rows.append(torch.stack([(q[:, c] @ k[:, c].T / size**0.5).softmax(dim=-1) for c in cut]))
        mixed = torch.cat([a @ v[:, c] for a, c in zip(rows[-1], cut, strict=True)], dim=-1)
        z = z + block.ls_1(mixed @ block.attn.out_proj.weight.T + block.attn.out_proj.bias)
        activations = block.mlp.gelu(block.mlp.c_fc(block.ln_2(z)))
        hidden = activations if at == layer else hidden
        z = z + block.ls_2(block.mlp.c_proj(activations))
    pooled, norm = z[0], visual.ln_post
    return {
        "hidden": hidden,  # [token, neuron]
        "rows": torch.stack(rows),  # [layer, head, query, token]
        "means": torch.stack(means),  # [layer, token]
        "deviations": torch.stack(deviations),
        "mean": pooled.mean(),
        "deviation": (pooled.var(correction=0) + norm.eps).sqrt(),
        "output": norm(pooled) @ visual.proj,
    }


def literal_even_neurons(visual: Any, image: Tensor, layer: int) -> Tensor:
    """Paper A with its code's shares of every constant (App. A.6): [neuron, embed], for one image."""
    seen, blocks = observed(visual, image, layer), visual.transformer.resblocks
    tokens, neurons = seen["hidden"].shape
    norm, everything = visual.ln_post, 1 + 2 * len(blocks)
    found = torch.zeros(neurons, visual.proj.shape[1], dtype=image.dtype)
    for n in range(neurons):
        for at in range(layer + 1, len(blocks)):
            block, sources = blocks[at], 1 + 2 * at
            heads = block.attn.num_heads
            size = block.attn.out_proj.weight.shape[0] // heads
            for h in range(heads):
                cut = slice(h * size, (h + 1) * size)
                value = block.attn.in_proj_weight.chunk(3)[2][cut]
                value_bias = block.attn.in_proj_bias.chunk(3)[2][cut]
                written = torch.zeros(len(value[0]), dtype=image.dtype)
                for i in range(tokens):
                    mlp = blocks[layer].mlp.c_proj
                    term = blocks[layer].ls_2(seen["hidden"][i, n] * mlp.weight[:, n] + mlp.bias / neurons)
                    term = term - seen["means"][at, i] / (sources * neurons)
                    term = block.ln_1.weight * term / seen["deviations"][at, i]
                    term = term + block.ln_1.bias / (sources * neurons)
                    v = value @ term + value_bias / (sources * neurons)
                    written += seen["rows"][at, h, 0, i] * (block.attn.out_proj.weight[:, cut] @ v)
                written = block.ls_1(written + block.attn.out_proj.bias / (sources * heads * neurons))
                share = sources * everything * heads * neurons
                written = norm.weight * (written - seen["mean"] / share) / seen["deviation"] + norm.bias / share
                found[n] += written @ visual.proj
    return 100 * found / seen["output"].norm()


def literal_even_pairs(pool: Any, grid: Tensor) -> Tensor:
    """Paper B with its code's shares of the biases: [neuron, head, embed], for one image's grid [channel, h, w]."""
    patches = grid.flatten(1).T
    z = torch.cat([patches.mean(dim=0, keepdim=True), patches]) + pool.positional_embedding
    neurons, heads = z.shape[1], pool.num_heads
    size = neurons // heads
    found = torch.zeros(neurons, heads, len(pool.c_proj.bias), dtype=z.dtype)
    for h in range(heads):
        cut = slice(h * size, (h + 1) * size)
        q = pool.q_proj.weight[cut] @ z[0] + pool.q_proj.bias[cut]
        k = z @ pool.k_proj.weight[cut].T + pool.k_proj.bias[cut]
        a = (k @ q / size**0.5).softmax(dim=0)
        for n in range(neurons):
            for i in range(len(z)):
                v = z[i, n] * pool.v_proj.weight[cut, n] + pool.v_proj.bias[cut] / neurons
                found[n, h] += a[i] * (pool.c_proj.weight[:, cut] @ v)
            found[n, h] += pool.c_proj.bias / (neurons * heads)
    return found


@torch.no_grad()
def published_second_order(visual: Any, image: Tensor, layer: int, through: int | None = None) -> Tensor:
    """Paper A's code for one image [3, h, w] and all neurons of a layer, [neuron, embed]. through: only so many of the
    later heads (each costs the same)."""
    seen, blocks = observed(visual, image, layer), visual.transformer.resblocks
    neurons, mlp, norm = seen["hidden"].shape[1], blocks[layer].mlp.c_proj, visual.ln_post
    found = torch.zeros(neurons, visual.proj.shape[1], dtype=image.dtype)
    heads = blocks[layer].attn.num_heads
    later = [(at, h) for at in range(layer + 1, len(blocks)) for h in range(heads)]
    for at, h in later[:through]:
        block, sources = blocks[at], (1 + 2 * at) * neurons
        size = block.attn.out_proj.weight.shape[0] // heads
        cut = slice(h * size, (h + 1) * size)
        each = torch.einsum("tn,nw->tnw", seen["hidden"], mlp.weight.T) + mlp.bias / neurons
        each = block.ln_1.weight * (blocks[layer].ls_2(each) - seen["means"][at, :, None, None] / sources)
        each = each / seen["deviations"][at, :, None, None] + block.ln_1.bias / sources
        value = torch.einsum("tnw,cw->tnc", each, block.attn.in_proj_weight.chunk(3)[2][cut])
        value = value + block.attn.in_proj_bias.chunk(3)[2][cut] / sources
        mixed = torch.einsum("qt,tnc->qnc", seen["rows"][at, h], value)  # for every query
        written = torch.einsum("qnc,wc->qnw", mixed, block.attn.out_proj.weight[:, cut])
        written = block.ls_1(written + block.attn.out_proj.bias / (sources * heads))
        share = sources * heads * (1 + 2 * len(blocks))
        pooled = norm.weight * (written[0] - seen["mean"] / share) / seen["deviation"] + norm.bias / share
        found += pooled @ visual.proj
    return 100 * found / seen["output"].norm()
