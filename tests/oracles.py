"""Slow, literal transcriptions of the papers' formulas: loops over images, layers, heads and tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def perturb(model: Any, seed: int = 0, size: float = 0.2) -> Any:
    """Random weights with no trivial gain or bias: every 1-d parameter is moved."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim <= 1:
            parameter.data += size * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model


def literal_vit(visual: Any, image: Tensor) -> dict[str, Tensor]:
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


def literal_attention_pool(pool: Any, grid: Tensor) -> Tensor:
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
    start: Tensor, layers: list[dict], mask: Tensor, pooled: int, norm: Any, projection: Tensor, shift: Tensor
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


def literal_averaged_vit(visual: Any, image: Tensor) -> dict[str, Tensor]:
    """Paper C's sum for a VisionTransformer of open_clip with pool_type="avg", one image [3, h, w]: every patch is a
    query, and the contribution of (layer, head, token) is the mean over queries of what it writes to each of them."""
    x = visual.conv1(image[None])[0].flatten(1).T
    z = visual.ln_pre(torch.cat([visual.class_embedding[None], x]) + visual.positional_embedding)
    patches = range(1, len(z))
    start, terms, mlps, constants = z, [], [], []
    for block in visual.transformer.resblocks:
        attention = block.attn
        size = z.shape[1] // attention.num_heads
        n = block.ln_1(z)
        q, k, v = (n @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=-1)
        written = torch.zeros(attention.num_heads, len(z), len(z), z.shape[1], dtype=z.dtype)  # head query token width
        for h in range(attention.num_heads):
            rows = slice(h * size, (h + 1) * size)
            a = (q[:, rows] @ k[:, rows].T / size**0.5).softmax(dim=-1)
            for query in range(len(z)):
                for i in range(len(z)):
                    written[h, query, i] = block.ls_1(attention.out_proj.weight[:, rows] @ (a[query, i] * v[i, rows]))
        constant = block.ls_1(attention.out_proj.bias)
        z = z + written.sum(dim=(0, 2)) + constant
        mlp = block.ls_2(block.mlp(block.ln_2(z)))
        z = z + mlp
        terms.append(written), mlps.append(mlp), constants.append(constant)
    norm = visual.ln_post
    mean = z[1:].mean(dim=0)
    variance = torch.stack([((mean if visual.final_ln_after_pool else z[q]).var(correction=0)) for q in patches])
    sigma = (variance + norm.eps).sqrt()

    def to_output(term: Tensor) -> Tensor:
        """[..., query, width] → the mean over the patches, each by its own σ (the same for all after pooling)."""
        each = [(term[..., q, :] - term[..., q, :].mean(dim=-1, keepdim=True)) / sigma[q - 1] for q in patches]
        return (torch.stack(each).mean(dim=0) * norm.weight) @ visual.proj

    return {
        "tokens": torch.stack([to_output(written.transpose(1, 2)) for written in terms]),  # [layer, head, token, embed]
        "mlps": torch.stack([to_output(mlp) for mlp in mlps]),
        "embedding": to_output(start),
        "bias": to_output(torch.stack(constants).sum(dim=0).expand(len(z), -1)) + norm.bias @ visual.proj,
    }


def literal_latent_pool(attention: nn.MultiheadAttention, query: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """What every (head, token) writes for one learned query [width] over keys [token, width], and the output bias."""
    size = attention.embed_dim // attention.num_heads
    if attention.in_proj_weight is not None:
        weight_q, weight_k, weight_v = attention.in_proj_weight.chunk(3)
    else:
        weight_q, weight_k, weight_v = attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight
    bias_q, bias_k, bias_v = attention.in_proj_bias.chunk(3)
    terms = []
    for h in range(attention.num_heads):
        rows = slice(h * size, (h + 1) * size)
        q = weight_q[rows] @ query + bias_q[rows]
        a = torch.stack([q @ (weight_k[rows] @ n + bias_k[rows]) / size**0.5 for n in keys]).softmax(dim=0)
        values = [weight_v[rows] @ n + bias_v[rows] for n in keys]
        terms.append(torch.stack([a[i] * (attention.out_proj.weight[:, rows] @ v) for i, v in enumerate(values)]))
    return torch.stack(terms), attention.out_proj.bias


def literal_even_split(visual: Any, image: Tensor) -> dict[str, Tensor]:
    """Paper C, A.1, as its code does it, for one image [3, h, w]: each of the 2L + 1 writers to the stream takes an
    equal part of −μ and of β, an attention layer deals its part and its output bias out to T · H pairs."""
    x = visual.conv1(image[None])[0].flatten(1).T
    z = visual.ln_pre(torch.cat([visual.class_embedding[None], x]) + visual.positional_embedding)
    start, norm, blocks = z[0], visual.ln_post, visual.transformer.resblocks
    raw, mlps = [], []
    for block in blocks:
        attention = block.attn
        heads, size = attention.num_heads, z.shape[1] // attention.num_heads
        n = block.ln_1(z)
        q, k, v = (n @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=-1)
        pairs = torch.zeros(heads, len(z), z.shape[1], dtype=z.dtype)
        for h in range(heads):
            rows = slice(h * size, (h + 1) * size)
            a = (q[0, rows] @ k[:, rows].T / size**0.5).softmax(dim=-1)
            for i in range(len(z)):
                pairs[h, i] = attention.out_proj.weight[:, rows] @ (a[i] * v[i, rows])
                pairs[h, i] += attention.out_proj.bias / (heads * len(z))
        raw.append(block.ls_1(pairs))
        z = z + block.ls_1(block.attention(n[None])[0])
        mlps.append(block.ls_2(block.mlp(block.ln_2(z)))[0])
        z = z + block.ls_2(block.mlp(block.ln_2(z)))
    mu, sigma = z[0].mean(), (z[0].var(correction=0) + norm.eps).sqrt()

    def to_output(term: Tensor, of: int) -> Tensor:
        return ((term - mu / of) / sigma * norm.weight + norm.bias / of) @ visual.proj

    writers = 2 * len(blocks) + 1
    return {
        "tokens": to_output(torch.stack(raw), writers * raw[0].shape[0] * raw[0].shape[1]),
        "mlps": to_output(torch.stack(mlps), writers),
        "embedding": to_output(start, writers),
    }


def literal_pairs(z: Tensor, a: Tensor, value: list[Tensor], write: list[Tensor]) -> Tensor:
    """Paper B: r^{n,h} = Σ_i a_i^h z_i^n W_VO^{n,h} for one image, [neuron, head, width], by explicit loops.

    z: [token, neuron]; a: [head, token]; value: [channel, neuron] and write: [width, channel] of every head.
    """
    found = torch.zeros(z.shape[1], len(a), len(write[0]), dtype=z.dtype)
    for n in range(z.shape[1]):
        for h in range(len(a)):
            for i in range(len(z)):
                found[n, h] += a[h, i] * z[i, n] * (write[h] @ value[h][:, n])
    return found


class LiteralStreams:
    """One image [3, h, w] through a VisionTransformer by explicit loops: who writes what to the residual stream, and
    what a vector at token i becomes in the output through head (l, h), with attention and deviations of this pass."""

    def __init__(self, visual: Any, image: Tensor) -> None:
        self.visual, self.blocks = visual, list(visual.transformer.resblocks)
        x = visual.conv1(image[None])[0].flatten(1).T
        z = visual.ln_pre(torch.cat([visual.class_embedding[None], x]) + visual.positional_embedding)
        self.start, self.rows, self.deviations, self.attention, self.hidden = z, [], [], [], []
        for block in self.blocks:
            heads, size = block.attn.num_heads, z.shape[1] // block.attn.num_heads
            self.deviations.append([((v - v.mean()).square().mean() + block.ln_1.eps).sqrt() for v in z])
            n = block.ln_1(z)
            q, k, _ = (n @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
            cut = [slice(h * size, (h + 1) * size) for h in range(heads)]
            self.rows.append(torch.stack([(q[0, c] @ k[:, c].T / size**0.5).softmax(dim=-1) for c in cut]))
            self.attention.append(block.ls_1(block.attention(n[None])[0]))
            z = z + self.attention[-1]
            self.hidden.append(block.mlp.gelu(block.mlp.c_fc(block.ln_2(z))))
            z = z + block.ls_2(block.mlp.c_proj(self.hidden[-1]))
        self.sigma = ((z[0] - z[0].mean()).square().mean() + visual.ln_post.eps).sqrt()

    def output(self, written: Tensor) -> Tensor:
        """What a vector in the class token's stream adds to the embedding."""
        return ((written - written.mean()) / self.sigma * self.visual.ln_post.weight) @ self.visual.proj

    def read(self, normed: Tensor, layer: int, head: int, token: int) -> Tensor:
        """What head (layer, head) makes of a vector behind ln_1 at a token, without the value bias."""
        block, size = self.blocks[layer], len(normed) // self.blocks[layer].attn.num_heads
        cut = slice(head * size, (head + 1) * size)
        value = block.attn.in_proj_weight.chunk(3)[2][cut] @ normed
        written = block.ls_1(block.attn.out_proj.weight[:, cut] @ value)
        return self.rows[layer][head, token] * self.output(written)

    def through(self, vector: Tensor, layer: int, head: int, token: int) -> Tensor:
        """The same of a vector in the stream: ln_1 is linear at the deviation of the real pass."""
        normed = (vector - vector.mean()) / self.deviations[layer][token] * self.blocks[layer].ln_1.weight
        return self.read(normed, layer, head, token)

    def second_order(self, layer: int) -> Tensor:
        """Paper A, Eq. 5, each term centred by its own mean: [neuron, later layer, head, embed]."""
        block = self.blocks[layer]
        later, heads, (tokens, neurons) = self.blocks[layer + 1 :], block.attn.num_heads, self.hidden[layer].shape
        found = torch.zeros(neurons, len(later), heads, self.visual.proj.shape[1], dtype=self.start.dtype)
        for n in range(neurons):
            w = block.ls_2(block.mlp.c_proj.weight[:, n])
            for at in range(len(later)):
                for h in range(heads):
                    for i in range(tokens):
                        p = self.hidden[layer][i, n]
                        found[n, at, h] += p * self.through(w, layer + 1 + at, h, i)
        return found

    def not_neurons(self, layer: int, head: int) -> Tensor:
        """A head's direct effect from all that is no earlier neuron: the embedding, each earlier attention output and
        each earlier MLP's output bias, β of ln_1 through W_V, and the value bias."""
        block, total = self.blocks[layer], torch.zeros(self.visual.proj.shape[1], dtype=self.start.dtype)
        size = self.start.shape[1] // block.attn.num_heads
        cut = slice(head * size, (head + 1) * size)
        bias = block.attn.in_proj_bias.chunk(3)[2][cut]
        for i in range(len(self.start)):
            total += self.through(self.start[i], layer, head, i)
            for earlier in range(layer):
                total += self.through(self.attention[earlier][i], layer, head, i)
                before = self.blocks[earlier]
                total += self.through(before.ls_2(before.mlp.c_proj.bias), layer, head, i)
            total += self.read(block.ln_1.bias, layer, head, i)
            written = block.ls_1(block.attn.out_proj.weight[:, cut] @ bias)
            total += self.rows[layer][head, i] * self.output(written)
        return total
