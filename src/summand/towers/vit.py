"""open_clip's VisionTransformer with a class token, as a sum over layers, heads and tokens (paper C)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SummandError
from .base import AttentionView, HeadMaps, Trace, Visit, _Enough, fold_final_norm, listening, working


class VisionTransformerTower:
    r"""M(x) = F ᵀ(z⁰ + Σ_l (Σ_h W_O^{l,h} Σ_i a_i^{l,h} v_i^{l,h} + b_O^l + MLP^l)) / σ + β P, all at the class token.

    The model's own forward runs, watched by hooks, up to the last block; of the last block only the class token is
    computed, since nothing else of it reaches the output.
    """

    kind = "VisionTransformer"
    terms = ("embedding", "heads", "mlps", "bias")

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual
        self._blocks = list(visual.transformer.resblocks)
        self._check()
        attention = self._blocks[0].attn
        self.layers = len(self._blocks)
        self.heads = attention.num_heads
        self.width = attention.out_proj.weight.shape[0]
        self.channels = self.width // self.heads
        self.embed = visual.proj.shape[1]
        size = visual.image_size
        self.image_size = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
        self.grid = tuple(visual.grid_size)
        self._maps: tuple[Any, HeadMaps] | None = None

    def _check(self) -> None:
        visual = self.visual
        if getattr(visual, "attn_pool", None) is not None:
            raise SummandError("a VisionTransformer with an attentional pooler (CoCa) is not supported yet")
        if visual.pool_type != "tok":
            raise SummandError(
                f"a VisionTransformer with pool_type={visual.pool_type!r} is not supported yet (only 'tok')"
            )
        if visual.proj is None:
            raise SummandError("a VisionTransformer without an output projection is not a CLIP tower")
        kinds = {type(block).__name__ for block in self._blocks}
        if kinds != {"ResidualAttentionBlock"}:
            raise SummandError(
                f"blocks of type {', '.join(sorted(kinds))} are not supported yet (only ResidualAttentionBlock)"
            )

    @torch.no_grad()
    def head_maps(self) -> HeadMaps:
        """W_O^{l,h} F for every value channel; rebuilt only when a weight has changed."""
        weights = [self.visual.proj, self.visual.ln_post.weight]
        weights += [p for block in self._blocks for p in (block.attn.out_proj.weight, *block.ls_1.parameters())]
        version = tuple((w.data_ptr(), w._version, w.dtype) for w in weights)
        if self._maps is None or self._maps[0] != version:
            folded = self._folded()
            layers = [(_scaled(block.ls_1, working(block.attn.out_proj.weight).T) @ folded) for block in self._blocks]
            shape = (self.layers, self.heads, self.channels, self.embed)
            self._maps = (version, HeadMaps(torch.stack(layers).reshape(shape)))
        return self._maps[1]

    def _folded(self) -> Tensor:
        return fold_final_norm(working(self.visual.ln_post.weight), working(self.visual.proj))

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None) -> Trace:
        values: list[Tensor] = []
        stream: list[Tensor] = []  # the class token before each block and between its attention and its MLP
        mlps: list[Tensor] = []
        entering: list[Tensor] = []

        def look(layer: int, normed: Tensor) -> None:
            view = self._view(layer, normed)
            values.append(view.values())
            if visit is not None:
                visit(layer, view)

        def before_block(layer: int, tokens: Tensor) -> None:
            now = working(self._batch_first(tokens)[:, 0])
            if layer:
                mlps.append(now - stream[-1])
            stream.append(now.clone())
            if layer == self.layers - 1:
                entering.append(tokens)
                raise _Enough

        def listeners():
            for layer, block in enumerate(self._blocks):
                yield block, "before", lambda _, args, layer=layer: before_block(layer, args[0])
                yield block.ln_1, "after", lambda _, args, out, layer=layer: look(layer, self._batch_first(out))
                yield (
                    block.ln_2,
                    "before",
                    lambda _, args: stream.append(working(self._batch_first(args[0])[:, 0]).clone()),
                )

        with listening(listeners()):
            self.visual(pixels)
        if not entering:
            raise SummandError("the forward pass never reached the last block; is the model wrapped or compiled?")
        last = self._blocks[-1]
        look(self.layers - 1, self._batch_first(last.ln_1(entering[0])))
        written = _scaled(last.ls_1, self._attention_write(last.attn, values[-1]))
        middle = stream[-1] + written
        mlps.append(working(last.ls_2(last.mlp(last.ln_2(middle[:, None].to(entering[0].dtype)))))[:, 0])
        return self._trace(torch.stack(values, dim=1), stream[0], torch.stack(mlps, dim=1), middle + mlps[-1])

    def _trace(self, values: Tensor, start: Tensor, mlps: Tensor, pooled: Tensor) -> Trace:
        norm, projection = self.visual.ln_post, working(self.visual.proj)
        deviation = pooled - pooled.mean(dim=-1, keepdim=True)
        scale = (deviation.square().mean(dim=-1) + norm.eps).rsqrt()
        folded = self._folded()
        constant = sum(_scaled(block.ls_1, working(block.attn.out_proj.bias)) for block in self._blocks)
        return Trace(
            values=values,
            scale=scale,
            embedding=(start @ folded) * scale[:, None],
            mlps=(mlps @ folded) * scale[:, None, None],
            bias=(constant @ folded) * scale[:, None] + working(norm.bias) @ projection,
        )

    def _view(self, layer: int, normed: Tensor) -> AttentionView:
        attention = self._blocks[layer].attn
        normed = working(normed)
        query_weight, key_weight, value_weight = working(attention.in_proj_weight).unflatten(
            0, (3, self.heads, self.channels)
        )
        bias = attention.in_proj_bias
        shape = (3, self.heads, self.channels)
        query_bias, _, value_bias = working(bias).reshape(shape) if bias is not None else normed.new_zeros(shape)
        query = torch.einsum("iw,hcw->ihc", normed[:, 0], query_weight) + query_bias
        # ⟨q, W_K n⟩ = ⟨W_Kᵀ q, n⟩: no key is ever built; the key bias shifts a whole row and drops out of the softmax.
        read = torch.einsum("ihc,hcw->ihw", query * self.channels**-0.5, key_weight)
        row = (read @ normed.transpose(1, 2)).softmax(dim=-1)
        return AttentionView(row, normed, value_weight, value_bias)

    def _attention_write(self, attention: nn.Module, values: Tensor) -> Tensor:
        return values.flatten(1) @ working(attention.out_proj.weight).T + working(attention.out_proj.bias)

    def _batch_first(self, tokens: Tensor) -> Tensor:
        return tokens if getattr(self.visual.transformer, "batch_first", False) else tokens.transpose(0, 1)


def _scaled(layer_scale: nn.Module, vectors: Tensor) -> Tensor:
    """LayerScale where the block has one."""
    gamma = getattr(layer_scale, "gamma", None)
    return vectors if gamma is None else vectors * working(gamma)
