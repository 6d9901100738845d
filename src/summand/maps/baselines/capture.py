"""One pass of an image tower with every attention in hand: q, k, v, rows, and what is written, open to autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...models import Model
from ...models.identities import off, tolerance
from ...towers.attention import Attention
from ...towers.base import working
from ...towers.blocks import Block
from ...towers.pool import PoolTower
from ...towers.residual import ResidualTower

_verified: WeakSet[Any] = WeakSet()
"""Towers, each of one state of a model, whose blocks have been found to be computed as the model does it."""


@dataclass(frozen=True)
class Layer:
    """One attention layer of one pass.

    query, key, value: [image, head, token, channel], as the softmax meets them (behind any norms and rotations).
    attention: softmax rows, [image, head, query, token]. mixed: Σ_i a_i v_i of all heads, what W_O reads, [image,
    query, head · channel]. inputs: what q, k and v are made of. entering → middle → leaving: the stream before the
    attention, between attention and MLP, and behind the MLP; written: middle − entering. The last four and `block` are
    absent (None) in an attention pool, which has no stream.
    """

    module: Attention
    query: Float[Tensor, "one_or_image head query channel"]
    key: Float[Tensor, "image head token channel"]
    value: Float[Tensor, "image head token channel"]
    attention: Float[Tensor, "image head query token"]
    mixed: Float[Tensor, "image query channels"]
    inputs: Float[Tensor, "image token width"]
    block: Any = None
    entering: Any = None
    written: Any = None
    middle: Any = None
    leaving: Any = None


class Capture:
    """One pass of an image tower, recomputed from the named parameters so that attention rows are tensors of their own.

    The wrapped model's forward runs up to the first block (or the pool) and is never patched; the blocks are then
    computed here. `output` equals `model.encode_image(pixels)`. Methods may share one capture.

    graph_from: the first layer (negative ones count from the end) whose computation is recorded by autograd; None for
    none. No parameter has to require a gradient. Raises `SummandError` for pixels that do not fit the model and for
    rotary positions that differ from layer to layer.
    """

    def __init__(
        self, model: Model, pixels: Float[Tensor, "image 3 height width"], graph_from: int | None = None
    ) -> None:
        model.check_pixels(pixels)
        self.tower: Any = model.tower
        self.layers: list[Layer] = []
        self.dtype = model.dtype
        self.entering: Any = None
        """What an attention pool was handed, in its own layout; None for a residual tower."""
        count = self.tower.layers
        self.graph_from = count if graph_from is None else graph_from % count
        if isinstance(self.tower, PoolTower):
            self._pool(pixels, self.tower)
        elif isinstance(self.tower, ResidualTower):
            self._blocks(pixels, self.tower)
        else:
            raise SummandError(f"the baselines cannot read a {self.tower.kind} tower")
        self._check(model, pixels)

    def _check(self, model: Model, pixels: Tensor) -> None:
        """That what was computed here is what the model computes: once for each state of a model, or always and for
        all images where the model holds code of others."""
        always = self.tower.always_checked
        if always or self.tower not in _verified:
            some = pixels if always else pixels[:1]
            error = off(self.output[: len(some)].detach(), model.encode_image(some))
            allowed = tolerance(some, self.tower)
            if not error <= allowed:
                raise SummandError(
                    f"the baselines compute {model.name} block by block from its weights, and do not arrive at its own "
                    f"embedding: off by {error:.2g} ({allowed:.0e} is rounding); `summand doctor` says what may be why"
                )
            _verified.add(self.tower)

    @property
    def residual(self) -> bool:
        """Whether the tower is a residual stream (its layers are all attention layers) or one attention pool."""
        return isinstance(self.tower, ResidualTower)

    def needs(self, layer: int) -> None:
        """Raise unless autograd recorded the pass from this layer on."""
        if self.graph_from > layer % self.tower.layers:
            raise SummandError(
                f"this method needs gradients from layer {layer % self.tower.layers} on, the shared capture was made "
                f"with graph_from={self.graph_from}; make it with graph_from=0"
            )

    def patches(self, tokens: Float[Tensor, "*batch token"]) -> Float[Tensor, "*batch row column"]:
        """One number a token → maps: other tokens dropped, the grid unfolded."""
        return tokens[..., self.tower.prefix :].unflatten(-1, self.tower.grid)

    def pooled_row(self, tokens: int) -> Float[Tensor, " query"]:
        """Share of every query of the last layer in what is pooled."""
        if self.residual:
            return self.tower.pooling(tokens).to(self.output)
        queries = self.layers[-1].attention.shape[2]
        return self.output.new_full((queries,), 1 / queries)

    def _blocks(self, pixels: Tensor, tower: ResidualTower) -> None:
        if getattr(getattr(tower.visual, "trunk", None), "rope_mixed", False):
            raise SummandError("the baselines cannot read rotary positions that are learned for each layer")
        first, positions = tower.enter(pixels)
        dtype, tokens = first.dtype, working(first)
        for index, block in enumerate(tower.blocks):
            recorded = index >= self.graph_from
            if index == self.graph_from:
                tokens = tokens.detach().requires_grad_()
            with torch.enable_grad() if recorded else torch.no_grad():
                layer = block_layer(block, tokens, dtype, positions)
            self.layers.append(layer)
            tokens = layer.leaving
        with torch.enable_grad() if self.graph_from < len(self.layers) else torch.no_grad():
            self.output: Tensor = tower.finish(tokens)

    def _pool(self, pixels: Tensor, tower: PoolTower) -> None:
        self.entering = tower.enter(pixels)
        with torch.no_grad() if self.graph_from else torch.enable_grad():
            if not self.graph_from:
                self.entering = self.entering.detach().requires_grad_()
            tokens = tower.pool.tokens(self.entering)
            layer = attend(tower.pool.attention, tokens, tower.pool.queries(tokens))
            self.layers.append(layer)
            self.output = tower.to_embedding(layer.mixed).mean(dim=1)


def attend(attention: Attention, inputs: Tensor, queries: Tensor, positions: dict[str, Any] | None = None) -> Layer:
    """q, k, v, softmax rows and Σ_i a_i v_i of one attention module."""
    left, right, bias = attention.logits(queries, inputs, 0, **(positions or {}))
    if right.shape[1] == 1 and attention.heads > 1:  # a single query is folded into the key map; here keys are wanted
        left = left.new_tensor(attention.channels**-0.5) * split_heads(attention, queries, 0)
        right = split_heads(attention, inputs, 1).transpose(2, 3)
    logits = left @ right
    rows = (logits if bias is None else logits + bias).softmax(dim=-1)
    value = values_of(attention, inputs)
    return Layer(
        module=attention,
        query=left * attention.channels**0.5,
        key=right.transpose(2, 3),
        value=value,
        attention=rows,
        mixed=mix(attention, rows, value),
        inputs=inputs,
    )


def block_layer(block: Block, tokens: Tensor, dtype: torch.dtype, positions: dict[str, Any] | None = None) -> Layer:
    """One residual block, in working precision; its norms and MLP compute in `dtype`."""
    inputs = working(block.attention_input(tokens.to(dtype)))
    found = attend(block.attention, inputs, inputs, positions)
    written = block.write(found.mixed)
    middle = tokens + written
    return Layer(
        **{name: getattr(found, name) for name in ("module", "query", "key", "value", "attention", "mixed", "inputs")},
        block=block,
        entering=tokens,
        written=written,
        middle=middle,
        leaving=middle + block.mlp(middle.to(dtype)),
    )


def split_heads(attention: Attention, tokens: Tensor, which: int) -> Float[Tensor, "one_or_image head token channel"]:
    """The query (0) or key (1) map of every head."""
    weight, bias = attention.projection(which)
    mapped = tokens if weight is None else F.linear(tokens, weight, bias)
    return mapped.unflatten(-1, (-1, attention.channels)).transpose(1, 2)


def values_of(attention: Attention, tokens: Tensor) -> Float[Tensor, "image head token channel"]:
    weight, bias = attention.value_map()
    return torch.einsum("itw,hcw->ihtc", tokens, weight) + bias[:, None]


def mix(
    attention: Attention,
    rows: Float[Tensor, "image head query token"],
    values: Float[Tensor, "image head token channel"],
) -> Float[Tensor, "image query channels"]:
    """s_h Σ_i a_i v_i of every query, heads side by side: what W_O reads."""
    return ((rows @ values) * attention.head_scale()[:, None, None]).transpose(1, 2).flatten(2)


def captured(shared: Capture | None, model: Model, pixels: Tensor, graph_from: int | None = None) -> Capture:
    """The shared capture where it fits, else a new one."""
    if shared is None:
        return Capture(model, pixels, graph_from)
    if shared.tower is not model.tower or len(shared.output) != len(pixels):
        raise SummandError("the shared capture was made for another model or another batch of images")
    if graph_from is not None:
        shared.needs(graph_from)
    return shared
