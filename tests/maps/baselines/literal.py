"""The baselines' formulas, literally: one image, one text, loops over layers, heads and tokens, in fp64."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from summand.border import foreign


def walk(visual: Any, image: Tensor, replaced: dict[int, Tensor] | None = None) -> SimpleNamespace:
    """The network by hand; `replaced`: attention matrices [head, query, token] in the place of some layers' own."""
    x = visual.conv1(image[None])[0].flatten(1).T
    z = visual.ln_pre(torch.cat([visual.class_embedding[None], x]) + visual.positional_embedding)
    layers = []
    for index, block in enumerate(visual.transformer.resblocks):
        n = block.ln_1(z)
        q, k, v = heads(block, n)
        size = q[0].shape[1]
        a = torch.stack([(q[h] @ k[h].T / size**0.5).softmax(dim=-1) for h in range(len(q))])
        a = (replaced or {}).get(index, a)
        mixed = torch.cat([a[h] @ v[h] for h in range(len(q))], dim=1)
        out = mixed @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
        middle = z + out
        end = middle + block.mlp(block.ln_2(middle))
        layers.append(SimpleNamespace(z=z, n=n, q=q, k=k, v=v, a=a, mixed=mixed, out=out, end=end, block=block))
        z = end
    return SimpleNamespace(layers=layers, output=embed(visual, z[0]))


def heads(block: Any, n: Tensor) -> list[list[Tensor]]:
    count = block.attn.num_heads
    weights, biases = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
    return [
        [n @ w.T + b for w, b in zip(ws.chunk(count), bs.chunk(count), strict=True)]
        for ws, bs in zip(weights, biases, strict=True)
    ]


def embed(visual: Any, z: Tensor) -> Tensor:
    return visual.ln_post(z) @ visual.proj


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def score(visual: Any, vector: Tensor, text: Tensor) -> Tensor:
    """⟨M/‖M‖, t⟩."""
    e = embed(visual, vector)
    return e @ text / e.norm()


def attention_gradient(visual: Any, image: Tensor, text: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """A and ∂s/∂A of one layer, by putting a leaf in the place of A and walking on."""
    a = walk(visual, image).layers[layer].a.detach().requires_grad_()
    output = walk(visual, image, {layer: a}).output
    return a.detach(), torch.autograd.grad(output @ text / output.norm(), a)[0]


def raw_attention(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    last = walk(visual, image).layers[-1].a
    return torch.stack([sum(a[0, i] for a in last) / len(last) for i in range(1, last.shape[1])])


def rollout(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    joint = None
    for layer in walk(visual, image).layers:
        a = layer.a.mean(dim=0)
        a = 0.5 * a + 0.5 * torch.eye(len(a), dtype=a.dtype)
        joint = a if joint is None else a @ joint
    return joint[0, 1:]


def chefer(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    relevance = None
    for layer in range(len(visual.transformer.resblocks)):
        a, gradient = attention_gradient(visual, image, text, layer)
        bar = torch.zeros_like(a[0])
        for h in range(len(a)):
            bar += (gradient[h] * a[h]).clamp(min=0) / len(a)
        relevance = torch.eye(len(bar), dtype=bar.dtype) if relevance is None else relevance
        relevance = relevance + bar @ relevance
    return relevance[0, 1:]


def legrad(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    total = 0
    seen = walk(visual, image)
    for layer in seen.layers:
        a = layer.a.detach().requires_grad_()
        mixed = torch.cat([a[h] @ layer.v[h].detach() for h in range(len(a))], dim=1)
        middle = layer.z.detach() + mixed @ layer.block.attn.out_proj.weight.T + layer.block.attn.out_proj.bias
        end = middle + layer.block.mlp(layer.block.ln_2(middle))
        (gradient,) = torch.autograd.grad(score(visual, end.mean(dim=0), text), a)
        relevance = torch.zeros(a.shape[1], dtype=a.dtype)
        for h in range(len(a)):
            for query in range(a.shape[1]):
                relevance += gradient[h, query].clamp(min=0) / (len(a) * a.shape[1])
        total = total + relevance / len(seen.layers)
    return foreign(total)[1:]


def grad_eclip(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    last = walk(visual, image).layers[-1]
    o = last.mixed[0].detach().requires_grad_()
    middle = last.z[0].detach() + o @ last.block.attn.out_proj.weight.T + last.block.attn.out_proj.bias
    end = middle + last.block.mlp(last.block.ln_2(middle))
    (weights,) = torch.autograd.grad(score(visual, end, text), o)
    q, k, v = (torch.cat(parts, dim=1) for parts in (last.q, last.k, last.v))
    near = torch.stack([cosine(q[0], k[i]) for i in range(1, len(k))])
    loosened = (near - near.min()) / (near.max() - near.min())
    found = [loosened[i - 1] * sum(weights[c] * v[i, c] for c in range(len(weights))) for i in range(1, len(v))]
    return torch.stack(found).clamp(min=0)


def dense(visual: Any, image: Tensor, text: Tensor, rows: str, residual: bool, mlp: bool) -> Tensor:
    last = walk(visual, image).layers[-1]
    size = last.q[0].shape[1]

    def own(x: Tensor) -> Tensor:
        return (x @ x.T / size**0.5).softmax(dim=-1)

    found = []
    for h in range(len(last.v)):
        kinds = {"identity": torch.eye(len(last.z), dtype=last.z.dtype), "qq": own(last.q[h])}
        kinds["qq+kk"] = kinds["qq"] + own(last.k[h])
        found.append(kinds[rows] @ last.v[h])
    out = torch.cat(found, dim=1) @ last.block.attn.out_proj.weight.T + last.block.attn.out_proj.bias
    tokens = last.z + out if residual else out
    tokens = tokens + last.block.mlp(last.block.ln_2(tokens)) if mlp else tokens
    return torch.stack([score(visual, token, text) for token in tokens[1:]])


def maskclip(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    return dense(visual, image, text, "identity", residual=True, mlp=True)


def sclip(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    return dense(visual, image, text, "qq+kk", residual=True, mlp=True)


def clearclip(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    return dense(visual, image, text, "qq", residual=False, mlp=False)


def clip_surgery(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    layers = walk(visual, image).layers
    begin = len(layers) // 2
    path = layers[begin].z
    for layer in layers[begin:]:
        size = layer.v[0].shape[1]
        out = torch.cat([(v @ v.T / size**0.5).softmax(dim=-1) @ v for v in layer.v], dim=1)
        path = path + out @ layer.block.attn.out_proj.weight.T + layer.block.attn.out_proj.bias
    return torch.stack([score(visual, token, text) for token in path[1:]])


def gradcam(visual: Any, image: Tensor, text: Tensor) -> Tensor:
    seen = walk(visual, image)
    last = seen.layers[-1]
    n = last.n.detach().requires_grad_()
    q, k, v = heads(last.block, n)
    a = [(q[h] @ k[h].T / q[h].shape[1] ** 0.5).softmax(dim=-1) for h in range(len(q))]
    out = torch.cat([a[h] @ v[h] for h in range(len(q))], dim=1) @ last.block.attn.out_proj.weight.T
    middle = last.z.detach() + out + last.block.attn.out_proj.bias
    end = middle + last.block.mlp(last.block.ln_2(middle))
    (gradient,) = torch.autograd.grad(score(visual, end[0], text), n)
    alpha = gradient[1:].mean(dim=0)
    return torch.stack([(alpha * n[i]).sum() for i in range(1, len(n))]).clamp(min=0).detach()


BY_NAME = {
    "raw-attention": raw_attention,
    "rollout": rollout,
    "chefer": chefer,
    "legrad": legrad,
    "grad-eclip": grad_eclip,
    "maskclip": maskclip,
    "sclip": sclip,
    "clearclip": clearclip,
    "clip-surgery": clip_surgery,
    "gradcam": gradcam,
}
