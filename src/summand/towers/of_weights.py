"""What a tower is by its weights alone, made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .base import HeadMaps, of_weights, working
from .blocks import Block
from .directions import Whole
from .factored import Factored
from .linear import Projection, fold_norm
from .plain import PlainMaps


class OfWeights:
    """Directions of heads and neurons, the folded projection and the constants of a tower of blocks.

    A tower is a snapshot of a model, so nothing of this is ever made again.
    """

    _blocks: list[Block]
    norm: Any
    projection: Projection
    heads: int
    channels: int
    even_split: bool

    def _begin(self) -> None:
        """Nothing is made yet."""
        self._maps: HeadMaps | None = None
        self._folded: Tensor | None = None
        self._constant: Tensor | None = None
        self._norm_shift: Tensor | None = None
        self._plain_maps: PlainMaps | None = None
        self._neuron_maps: dict[Any, Factored] = {}
        self._writes: dict[int, Whole] = {}

    @property
    def device(self) -> torch.device:
        return self._blocks[0].attention.out.weight.device

    def projection_matrix(self) -> Float[Tensor, "width embed"]:
        return self.projection.matrix(working(self._blocks[0].attention.out.weight.T))

    def head_maps(self) -> HeadMaps:
        """W_O^{l,h} F for every value channel, built once."""
        if self._maps is None:
            with of_weights(self.device):
                folded = self.folded()
                self._maps = HeadMaps(torch.stack([block.directions(folded) for block in self._blocks]))
        return self._maps

    def neuron_directions(self, layer: int) -> Factored:
        """P W_VO^{l',h} w^{l,n} for every neuron n and later head (l', h), norms folded in: [neuron, path, embed],
        through the later head's channels. Built once."""
        return self.later_directions(layer, self._blocks[layer].neuron_writes, layer)

    def later_directions(self, layer: int, writes: Callable[[], Tensor], key: Any) -> Factored:
        """The same of what is written to the stream that leaves a layer, [unit, width]. key: of what is kept."""
        kept = self._neuron_maps.get(key)
        if kept is None:
            maps, later = self.head_maps(), self._blocks[layer + 1 :]
            with of_weights(self.device):
                written = writes()
                left = torch.stack([written @ block.value_reads(not self.even_split) for block in later], dim=1)
                left = left.unflatten(-1, (self.heads, self.channels)).flatten(1, 2)
                kept = Factored(left, maps.kept[layer + 1 :].flatten(0, 1))
            self._neuron_maps[key] = kept
        return kept

    def write_directions(self, layer: int) -> Whole:
        """w^{l,n} F: what every neuron writes to the pooled token, in the output, [neuron, 1, embed]. Built once."""
        kept = self._writes.get(layer)
        if kept is None:
            with of_weights(self.device):
                kept = Whole((self._blocks[layer].neuron_writes() @ self.folded())[:, None])
            self._writes[layer] = kept
        return kept

    def plain_maps(self, first: int, last: int) -> PlainMaps:
        """The maps of attention layers that are read plainly, from the first to the last, side by side. Where all
        layers are, they are copied once."""
        if self._plain_maps is None:
            with of_weights(self.device):
                each = [block.attention.plain_maps() for block in self._blocks]
                known = [maps for maps in each if maps is not None]
                if len(known) < len(each):
                    return PlainMaps.stacked([maps for maps in each[first : last + 1] if maps is not None])
                self._plain_maps = PlainMaps.stacked(known)
        return self._plain_maps.some(slice(first, last + 1))

    def folded(self) -> Float[Tensor, "width embed"]:
        """F: the projection with the final norm's gain and centring in it, at unit σ. Built once."""
        if self._folded is None:
            with of_weights(self.device):
                self._folded = self._fold()
        return self._folded

    def constant(self) -> Float[Tensor, "1 embed"]:
        """What the output biases of plain attentions add, at unit σ. Built once."""
        if self._constant is None:
            with of_weights(self.device):
                one = working(self.folded()).new_ones(1)
                each = [block.constant(one, one) for block in self._blocks]
                self._constant = sum(each[1:], each[0]) @ self.folded()
        return self._constant

    def norm_shift(self) -> Float[Tensor, " embed"] | None:
        """β P, what the final norm's shift adds; None where it has none. Built once."""
        if self.norm is None or self.norm.bias is None:
            return None
        if self._norm_shift is None:
            with of_weights(self.device):
                self._norm_shift = self.projection(working(self.norm.bias))
        return self._norm_shift

    def _fold(self) -> Tensor:
        projection = self.projection_matrix()
        if self.norm is None:
            return projection
        if self.even_split:
            return projection if self.norm.weight is None else working(self.norm.weight)[:, None] * projection
        return fold_norm(self.norm, projection)
