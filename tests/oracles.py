"""Slow, literal transcriptions of the papers' formulas: loops over images, layers, heads and tokens."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def perturb(model: nn.Module, seed: int = 0, size: float = 0.2) -> nn.Module:
    """Random weights with no trivial gain or bias: every 1-d parameter is moved."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim <= 1:
            parameter.data += size * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model


def literal_vit(visual: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Paper C, Eq. 1–6, for one image [3, h, w] in fp64: contributions of every (layer, head, token), every MLP, the
    embedding and the constants to the output, by walking through the network with explicit loops."""
    x = visual.conv1(image[None])[0].flatten(1).T
    z = torch.cat([visual.class_embedding[None], x]) + visual.positional_embedding
    z = visual.ln_pre(z)
    attention_terms, mlp_terms, constants = [], [], []
    start = z[0]
    for block in visual.transformer.resblocks:
        attention = block.attn
        heads, width = attention.num_heads, z.shape[1]
        size = width // heads
        normed = block.ln_1(z)
        weight_q, weight_k, weight_v = attention.in_proj_weight.chunk(3)
        bias_q, bias_k, bias_v = attention.in_proj_bias.chunk(3)
        write = torch.zeros_like(z)
        terms = torch.zeros(heads, len(z), width, dtype=z.dtype)
        for h in range(heads):
            rows = slice(h * size, (h + 1) * size)
            q = normed @ weight_q[rows].T + bias_q[rows]
            k = normed @ weight_k[rows].T + bias_k[rows]
            v = normed @ weight_v[rows].T + bias_v[rows]
            a = (q @ k.T / size**0.5).softmax(dim=-1)
            out = attention.out_proj.weight[:, rows]
            write += (a @ v) @ out.T
            for i in range(len(z)):
                terms[h, i] = a[0, i] * (out @ v[i])
        attention_terms.append(block.ls_1(terms))
        constants.append(block.ls_1(attention.out_proj.bias))
        z = z + block.ls_1(write + attention.out_proj.bias)
        mlp = block.ls_2(block.mlp(block.ln_2(z)))
        mlp_terms.append(mlp[0])
        z = z + mlp
    pooled, norm = z[0], visual.ln_post
    sigma = (((pooled - pooled.mean()) ** 2).mean() + norm.eps) ** 0.5

    def to_output(term: Tensor) -> Tensor:
        return ((term - term.mean(dim=-1, keepdim=True)) / sigma * norm.weight) @ visual.proj

    return {
        "tokens": to_output(torch.stack(attention_terms)),  # [layer, head, token, embed]
        "mlps": to_output(torch.stack(mlp_terms)),
        "embedding": to_output(start),
        "bias": to_output(torch.stack(constants).sum(dim=0)) + norm.bias @ visual.proj,
        "output": norm(pooled) @ visual.proj,
    }


def literal_attention_pool(pool: nn.Module, grid: Tensor) -> Tensor:
    """Contribution of every (head, token) of a CLIP-ResNet's attention pool for one image: grid [channel, h, w]."""
    patches = grid.flatten(1).T
    z = torch.cat([patches.mean(dim=0, keepdim=True), patches]) + pool.positional_embedding
    size = z.shape[1] // pool.num_heads
    terms = []
    for h in range(pool.num_heads):
        rows = slice(h * size, (h + 1) * size)
        q = pool.q_proj.weight[rows] @ z[0] + pool.q_proj.bias[rows]
        k = z @ pool.k_proj.weight[rows].T + pool.k_proj.bias[rows]
        v = z @ pool.v_proj.weight[rows].T + pool.v_proj.bias[rows]
        a = (k @ q / size**0.5).softmax(dim=0)
        terms.append(torch.stack([a[i] * (pool.c_proj.weight[:, rows] @ v[i]) for i in range(len(z))]))
    return torch.stack(terms)


def literal_textspan(outputs: np.ndarray, texts: np.ndarray, size: int) -> tuple[list[int], list[float]]:
    """Paper C, Algorithm 1, on centred outputs [image, embed] and texts [text, embed]: indices and cumulative share."""
    _, singular, right = np.linalg.svd(outputs, full_matrices=False)
    span = right[singular > singular[0] * 1e-6]
    texts = texts @ span.T @ span
    c = outputs - outputs.mean(axis=0)
    total = (c**2).sum()
    chosen, shares, seen = [], [], 0.0
    for _ in range(size):
        scores = [np.std(c @ text) for text in texts]
        best = int(np.argmax(scores))
        direction = texts[best] / np.linalg.norm(texts[best])
        seen += float(((c @ direction) ** 2).sum())
        chosen.append(best)
        shares.append(seen / total)
        c = np.stack([row - (row @ direction) * direction for row in c])
        texts = np.stack([text - (text @ direction) * direction for text in texts])
    return chosen, shares


def literal_text(
    start: Tensor, layers: list[dict], mask: Tensor, pooled: int, norm: nn.Module, projection: Tensor, shift: Tensor
) -> dict[str, Tensor]:
    """Every term of one text's embedding by explicit loops.

    start: what enters the first block, [token, width]. layers: ln_1, ln_2, mlp, ls_1, ls_2 (callables), q, k, v, out
    (pairs of weight and bias) and heads. mask: added to the logits.
    """
    z = start
    attention_terms, mlp_terms, constants = [], [], []
    for layer in layers:
        heads = layer["heads"]
        size = z.shape[1] // heads
        normed = layer["ln_1"](z)
        terms = torch.zeros(heads, len(z), z.shape[1], dtype=z.dtype)
        write = torch.zeros_like(z)
        for h in range(heads):
            rows = slice(h * size, (h + 1) * size)
            q, k, v = (normed @ weight[rows].T + bias[rows] for weight, bias in (layer[name] for name in "qkv"))
            a = (q @ k.T / size**0.5 + mask).softmax(dim=-1)
            out = layer["out"][0][:, rows]
            write += (a @ v) @ out.T
            for i in range(len(z)):
                terms[h, i] = a[pooled, i] * (out @ v[i])
        attention_terms.append(layer["ls_1"](terms))
        constants.append(layer["ls_1"](layer["out"][1]))
        z = z + layer["ls_1"](write + layer["out"][1])
        written = layer["ls_2"](layer["mlp"](layer["ln_2"](z)))
        mlp_terms.append(written[pooled])
        z = z + written
    last = z[pooled]
    sigma = (((last - last.mean()) ** 2).mean() + norm.eps) ** 0.5

    def to_output(term: Tensor) -> Tensor:
        return ((term - term.mean(dim=-1, keepdim=True)) / sigma * norm.weight) @ projection

    return {
        "tokens": to_output(torch.stack(attention_terms)),
        "mlps": to_output(torch.stack(mlp_terms)),
        "embedding": to_output(start[pooled]),
        "bias": to_output(torch.stack(constants).sum(dim=0)) + norm.bias @ projection + shift,
    }
