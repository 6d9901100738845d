"""open_clip's ModifiedResNet with the attention pool, as a sum over the pool's heads and tokens (paper B)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .base import AttentionView, HeadMaps, Trace, Visit, _Enough, listening, working


class ResNetTower:
    r"""M(x) = Σ_h W_O^h Σ_i a_i^h v_i^h + b_O, with the mean token's query.

    The only attention is the pool, so there is one layer; no MLP and no embedding write to the output.
    """

    kind = "ModifiedResNet"
    terms = ("heads", "bias")
    layers = 1

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual
        pool: Any = visual.attnpool
        self.heads = pool.num_heads
        self.channels = pool.v_proj.weight.shape[0] // self.heads
        self.embed = pool.c_proj.weight.shape[0]
        size = visual.image_size
        self.image_size = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
        side = round((len(pool.positional_embedding) - 1) ** 0.5)
        self.grid = (side, side)

    @torch.no_grad()
    def head_maps(self) -> HeadMaps:
        weight = working(self.visual.attnpool.c_proj.weight).T
        return HeadMaps(weight.reshape(1, self.heads, self.channels, self.embed))

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None) -> Trace:
        seen: list[Tensor] = []

        def before_pool(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen.append(args[0])
            raise _Enough

        with listening(iter([(self.visual.attnpool, "before", before_pool)])):
            self.visual(pixels)
        view = self._view(working(seen[0]))
        if visit is not None:
            visit(0, view)
        values = view.values()[:, None]
        images = len(values)
        return Trace(
            values=values,
            scale=values.new_ones(images),
            embedding=values.new_zeros(images, self.embed),
            mlps=values.new_zeros(images, 0, self.embed),
            bias=working(self.visual.attnpool.c_proj.bias).expand(images, -1),
        )

    def _view(self, grid: Tensor) -> AttentionView:
        pool = self.visual.attnpool
        patches = grid.flatten(2).transpose(1, 2)  # [image, token, neuron]
        tokens = torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1) + working(pool.positional_embedding)
        split = (self.heads, self.channels)
        query = nn.functional.linear(tokens[:, 0], working(pool.q_proj.weight), working(pool.q_proj.bias)).unflatten(
            -1, split
        )
        key_weight = working(pool.k_proj.weight).unflatten(0, split)
        read = torch.einsum("ihc,hcw->ihw", query * self.channels**-0.5, key_weight)
        row = (read @ tokens.transpose(1, 2)).softmax(dim=-1)
        return AttentionView(
            row, tokens, working(pool.v_proj.weight).unflatten(0, split), working(pool.v_proj.bias).reshape(split)
        )
