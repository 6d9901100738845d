"""Towers whose output is one norm and one linear map of a pooled residual stream: a sum over all layers (paper C)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..directions import Factored, Whole
from ..errors import SummandError
from .base import AttentionView, HeadMaps, Shares, Trace, Visit, _Enough, listening, unmixed, working
from .blocks import Block
from .linear import Projection, fold_norm, inverse_deviation, normed, optional_norm, version

_POSITIONS = ("rope", "shared_rel_pos")


class ResidualTower:
    r"""M(x) = Fᵀ Σ_q w_q (z_q⁰ + Σ_l (Σ_h W_O^{l,h} Σ_i a_{q,i}^{l,h} v_i^{l,h} + b_O^l + MLP_q^l)) / σ + β P.

    Pooling is a choice of w: the class token alone (w = 1 at q = 0, paper C), or the mean over the patches. Where the
    final norm comes after the mean, σ is one number of the pooled vector; where it comes before it, every query has
    its own, w_q = 1/(N σ_q), known only when the pass is over: then the explanation takes two passes.

    The model's own forward runs, watched by hooks. For a class token it ends before the last block, of which only the
    class token is computed, since nothing else of it reaches the output.
    """

    terms: tuple[str, ...] = ("embedding", "heads", "mlps", "bias")

    def __init__(
        self,
        visual: nn.Module,
        *,
        kind: str,
        encode: Callable[[Tensor], Tensor],
        blocks: list[nn.Module],
        norm: nn.Module | None,
        projection: Projection,
        pool: str,
        norm_first: bool,
        image_size: tuple[int, int],
        grid: tuple[int, int],
        prefix: int,
        pooled_from: int = 0,
    ) -> None:
        self.visual, self.kind, self.encode = visual, kind, encode
        self._blocks = [Block(block) for block in blocks]
        self._norm: Any = optional_norm(norm, "its final norm")
        self._projection = projection
        self._averaged, self._norm_first, self._pooled_from = pool == "avg", norm_first, pooled_from
        self.image_size, self.grid, self.prefix = image_size, grid, prefix
        self.layers = len(blocks)
        sizes = {(block.attention.heads, block.attention.channels) for block in self._blocks}
        if len(sizes) > 1:
            raise SummandError("its layers differ in their number of heads or channels")
        self.heads, self.channels = sizes.pop()
        self.embed = projection.size(len(self._blocks[0].attention.out.weight))
        self._maps: tuple[Any, HeadMaps] | None = None
        self._neuron_maps: dict[int, tuple[HeadMaps, Any, Factored]] = {}
        self._writes: dict[int, tuple[Any, Whole]] = {}
        self._even_split = False
        self._split: ResidualTower | None = None

    @property
    def blocks(self) -> list[Block]:
        return self._blocks

    @property
    def averaged(self) -> bool:
        """Whether the mean of the tokens is pooled, not the class token."""
        return self._averaged

    @property
    def plain(self) -> bool:
        """Whether every block is a plain pre-norm block."""
        return all(block.plain for block in self._blocks)

    def evenly(self) -> ResidualTower:
        """The same sum as paper C's code splits it (A.1): μ, β and the output biases in equal parts over the terms."""
        plain = all(block.out_norm is None and block.attention.inner is None for block in self._blocks)
        if self._averaged or self._norm is None or not plain:
            raise SummandError(
                f"parity='paper' is defined for a class token, a final LayerNorm and plain pre-norm blocks (paper C); "
                f"this {self.kind} has something else"
            )
        if self._split is None:
            self._split = copy.copy(self)
            self._split._even_split, self._split._maps, self._split._neuron_maps = True, None, {}
            self._split._writes = {}
        return self._split

    @torch.no_grad()
    def head_maps(self) -> HeadMaps:
        """W_O^{l,h} F for every value channel; rebuilt only when a weight has changed."""
        weights = [*self._projection.parameters(), getattr(self._norm, "weight", None)]
        now = version([*weights, *(p for block in self._blocks for p in block.parameters())])
        if self._maps is None or self._maps[0] != now:
            folded = self._folded()
            self._maps = (now, HeadMaps(torch.stack([block.directions(folded) for block in self._blocks])))
        return self._maps[1]

    @torch.no_grad()
    def neuron_directions(self, layer: int) -> Factored:
        """P W_VO^{l',h} w^{l,n} for every neuron n and later head (l', h), norms folded in: [neuron, path, embed],
        through the later head's channels. Rebuilt only when a weight has changed."""
        maps, later = self.head_maps(), self._blocks[layer + 1 :]
        read = [p for block in later for p in block.module.parameters()]
        now = version([*self._blocks[layer].module.parameters(), *read])
        kept = self._neuron_maps.get(layer)
        if kept is None or kept[0] is not maps or kept[1] != now:
            written = self._blocks[layer].neuron_writes()
            left = torch.stack([written @ block.value_reads(not self._even_split) for block in later], dim=1)
            left = left.unflatten(-1, (self.heads, self.channels)).flatten(1, 2)
            kept = (maps, now, Factored(left, maps.directions[layer + 1 :].flatten(0, 1)))
            self._neuron_maps[layer] = kept
        return kept[2]

    @torch.no_grad()
    def write_directions(self, layer: int) -> Whole:
        """w^{l,n} F: what every neuron writes to the pooled token, in the output, [neuron, 1, embed]. Rebuilt only when
        a weight has changed."""
        weights = [*self._projection.parameters(), getattr(self._norm, "weight", None)]
        now = version([*weights, *self._blocks[layer].module.parameters()])
        kept = self._writes.get(layer)
        if kept is None or kept[0] != now:
            written = self._blocks[layer].neuron_writes() @ self._folded()
            self._writes[layer] = kept = (now, Whole(written[:, None]))
        return kept[1]

    @property
    def pooled_from(self) -> int:
        """The first token that is pooled."""
        return self._pooled_from if self._averaged else 0

    def readout(self, tokens: Float[Tensor, "image token width"]) -> Float[Tensor, "image embed"]:
        """The output of a stream that has left the last block, as the model itself reads it."""
        tokens = working(tokens)
        if not self._averaged:
            pooled = normed(self._norm, tokens[:, 0])
        elif self._norm_first:
            pooled = normed(self._norm, tokens[:, self._pooled_from :]).mean(dim=1)
        else:
            pooled = normed(self._norm, tokens[:, self._pooled_from :].mean(dim=1))
        return self._projection(pooled) + self._projection.shift(pooled)

    def _folded(self) -> Float[Tensor, "width embed"]:
        projection = self.projection_matrix()
        if self._norm is None:
            return projection
        if self._even_split:
            return projection if self._norm.weight is None else working(self._norm.weight)[:, None] * projection
        return fold_norm(self._norm, projection)

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None) -> Trace:
        if not self._averaged:
            return _Pass(self, visit, lambda tokens: tokens.new_ones(len(tokens), 1)).of_class_token(pixels)
        if self._norm is None or not self._norm_first:
            return _Pass(self, visit, self._even).of_mean(pixels, scaled=False)
        ends: list[Tensor] = []
        with listening(iter([(self._blocks[-1].module, "after", ends.append)])):
            self.visual(pixels)
        last = working(self.batch_first(ends[0]))[:, self._pooled_from :]
        weights = inverse_deviation(self._norm, last) / last.shape[1]
        return _Pass(self, visit, lambda _: weights).of_mean(pixels, scaled=True)

    def _even(self, tokens: Tensor) -> Float[Tensor, "image query"]:
        count = tokens.shape[1] - self._pooled_from
        return tokens.new_full((len(tokens), count), 1 / count)

    def batch_first(self, tokens: Tensor) -> Tensor:
        transformer = getattr(self.visual, "transformer", None)
        return tokens if getattr(transformer, "batch_first", True) else tokens.transpose(0, 1)

    def final_normed(self, stream: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return normed(self._norm, stream)

    def projection_matrix(self) -> Float[Tensor, "width embed"]:
        return self._projection.matrix(working(self._blocks[0].attention.out.weight.T))

    def to_embedding(self, stream: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch embed"]:
        """The final norm and the projection of any vectors of the stream, differentiable."""
        stream = self.final_normed(stream)
        return self._projection(stream) + self._projection.shift(stream)

    def finish(self, tokens: Float[Tensor, "image token width"]) -> Float[Tensor, "image embed"]:
        """What the tower does behind its blocks: pooling, norm, projection. Differentiable."""
        if not self._averaged:
            return self.to_embedding(tokens[:, 0])
        if self._norm_first:
            return self.to_embedding(tokens[:, self._pooled_from :]).mean(dim=1)
        return self.to_embedding(tokens[:, self._pooled_from :].mean(dim=1))

    def pooling(self, tokens: int) -> Float[Tensor, " token"]:
        """Share of every token in the pooled one: one for the class token, or equal parts."""
        share = torch.zeros(tokens)
        if self._averaged:
            share[self._pooled_from :] = 1 / (tokens - self._pooled_from)
        else:
            share[0] = 1
        return share

    @torch.no_grad()
    def enter(self, pixels: Tensor) -> tuple[Float[Tensor, "image token width"], dict[str, Any]]:
        """The tokens that the first block reads, in the model's dtype, and the positions that it is handed."""
        seen: list[Tensor] = []
        positions: dict[str, Any] = {}

        def first(tokens: Tensor, kwargs: dict[str, Any]) -> None:
            seen.append(self.batch_first(tokens))
            positions.update({name: kwargs[name] for name in _POSITIONS if kwargs.get(name) is not None})
            raise _Enough

        with listening(iter([(self._blocks[0].module, "before", first)])):
            self.visual(pixels)
        if not seen:
            raise SummandError("the forward pass never reached the first block; is the model wrapped or compiled?")
        return seen[0], positions

    def _trace(self, seen: _Pass, pooled: Tensor, scaled: bool) -> Trace:
        """Terms in the width of the stream, brought to the embedding space."""
        folded = self._folded()
        scale = pooled.new_ones(len(pooled))
        if self._norm is not None and not scaled:
            scale = inverse_deviation(self._norm, pooled)
        if self._even_split:
            return self._evenly_split(seen, pooled, folded, scale)
        bias = (seen.constant @ folded) * scale[:, None]
        if self._norm is not None and self._norm.bias is not None:
            bias = bias + self._projection(working(self._norm.bias))
        return Trace(
            values=torch.stack(seen.values, dim=1),
            scale=scale,
            embedding=(seen.stream[0] @ folded) * scale[:, None],
            mlps=(torch.stack(seen.mlps, dim=1) @ folded) * scale[:, None, None],
            bias=bias + self._projection.shift(pooled),
            pooling=seen.pooling,
        )

    def _evenly_split(self, seen: _Pass, pooled: Tensor, folded: Tensor, scale: Tensor) -> Trace:
        """Paper C, A.1, and its code: L attention terms, L MLPs and the embedding each take 1/(2L + 1) of −μ γ/σ + β;
        a layer's attention passes its part and its output bias on to its heads, and they to their tokens, evenly."""
        parts, one = 2 * self.layers + 1, scale.new_ones(1)
        mean = pooled.mean(dim=-1)
        gain = folded.sum(dim=0)  # 1ᵀ diag(γ) P
        shift = torch.zeros_like(gain) if self._norm.bias is None else self._projection(working(self._norm.bias))
        biases = torch.cat([block.constant(one, one) for block in self._blocks]) @ folded
        each = torch.stack([biases, (gain / parts).expand_as(biases), (shift / parts).expand_as(biases)], dim=1)
        share = ((-mean * scale)[:, None] * gain + shift) / parts
        return Trace(
            values=torch.stack(seen.values, dim=1),
            scale=scale,
            embedding=(seen.stream[0] @ folded) * scale[:, None] + share,
            mlps=(torch.stack(seen.mlps, dim=1) @ folded) * scale[:, None, None] + share[:, None],
            bias=self._projection.shift(pooled).expand(len(pooled), -1),
            shares=Shares(torch.stack([scale, -mean * scale, torch.ones_like(scale)], dim=1), each / self.heads),
            pooling=seen.pooling,
        )


class _Pass:
    """One forward pass as its listeners see it: the pooled stream, layer by layer."""

    def __init__(self, tower: ResidualTower, visit: Visit | None, weights: Callable[[Tensor], Tensor]) -> None:
        self.tower, self.visit, self.weights = tower, visit, weights
        self.blocks, self.first = tower._blocks, tower._pooled_from if tower._averaged else 0
        self.values: list[Tensor] = []
        self.stream: list[Tensor] = []  # before each block and between its attention and its MLP
        self.mlps: list[Tensor] = []
        self.constant: Any = 0
        self.pooling: Tensor | None = None
        self.positions: dict[str, Any] = {}

    def of_class_token(self, pixels: Tensor) -> Trace:
        entering: list[Tensor] = []

        def enter_last(tokens: Tensor) -> None:
            entering.append(self.tower.batch_first(tokens))
            raise _Enough

        with listening(self._listeners(enter_last, None)):
            self.tower.visual(pixels)
        self._check(entering)
        last, tokens = self.blocks[-1], entering[0]
        inputs = working(last.attention_input(tokens))
        with unmixed(tokens.device):
            view = self._look(len(self.blocks) - 1, inputs)
            outputs = last.plain_outputs(view, self.values[-1], inputs, self.positions)
            middle = self.stream[-1] + last.write(outputs)
        self.mlps.append(last.mlp(middle[:, None].to(tokens.dtype))[:, 0])  # in the model's own precision
        with unmixed(tokens.device):
            return self.tower._trace(self, middle + self.mlps[-1], scaled=False)

    def of_mean(self, pixels: Tensor, scaled: bool) -> Trace:
        ends: list[Tensor] = []

        def leave_last(tokens: Tensor) -> None:
            ends.append(self._pooled(tokens))
            raise _Enough

        with listening(self._listeners(None, leave_last)):
            self.tower.visual(pixels)
        self._check(ends)
        self.mlps.append(ends[0] - self.stream[-1])
        with unmixed(pixels.device):
            return self.tower._trace(self, ends[0], scaled)

    def _listeners(self, enter_last: Callable[[Tensor], None] | None, leave_last: Callable[[Tensor], None] | None):
        """Before a block: the end of the last MLP. Before its attention: what keys and values read."""

        def enter(layer: int, tokens: Tensor, kwargs: dict[str, Any]) -> None:
            self.positions = {name: kwargs[name] for name in _POSITIONS if kwargs.get(name) is not None}
            now = self._pooled(tokens)
            if layer:
                self.mlps.append(now - self.stream[-1])
            self.stream.append(now)
            if enter_last is not None and layer == len(self.blocks) - 1:
                enter_last(tokens)

        def attend(layer: int, inputs: Tensor) -> None:
            self._look(layer, working(self.tower.batch_first(inputs)))

        for layer, block in enumerate(self.blocks):
            yield block.module, "before", lambda tokens, kwargs, layer=layer: enter(layer, tokens, kwargs)
            yield block.attention.module, "before", lambda inputs, _, layer=layer: attend(layer, inputs)
            yield block.before_mlp, "before", lambda tokens, _: self.stream.append(self._pooled(tokens))
        if leave_last is not None:
            yield self.blocks[-1].module, "after", leave_last

    def _look(self, layer: int, inputs: Tensor) -> AttentionView:
        self.pooling = weights = self.weights(inputs)
        view, mass = self.blocks[layer].look(inputs, weights, self.first, self.positions)
        if self.visit is not None:
            self.visit(layer, view)
        self.values.append(view.values())
        self.constant = self.constant + self.blocks[layer].constant(mass, weights.sum(dim=1))
        return view

    def _pooled(self, tokens: Tensor) -> Float[Tensor, "image width"]:
        tokens = working(self.tower.batch_first(tokens))
        if not self.tower._averaged:
            return tokens[:, 0].clone()
        return torch.einsum("iq,iqw->iw", self.weights(tokens), tokens[:, self.first :])

    def _check(self, reached: list[Tensor]) -> None:
        if not reached:
            raise SummandError("the forward pass never reached the last block; is the model wrapped or compiled?")
