"""Attention layers that one plain query reads, several of them finished together: as few steps as there are layers'
worth of work, in the precision that the model computes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .eager import exporting
from .products import HALVES, addends, exact_product, in_addends, mixed_product, rounded_product

_IN_CACHE = 1 << 21  # numbers, of tokens and weights, that are worked on together on a CPU
_AT_ONCE = 1 << 26  # and on other devices
_LARGE = 1 << 23  # numbers of a layer that is finished alone there: putting it beside others costs more than it saves
_FEW = 8  # images
_MOST_READ = 1 << 26  # numbers that are kept of what heads read


@dataclass(frozen=True)
class PlainMaps:
    """W_Q [layer, head · channel, width], b_Q [layer, 1, head · channel], W_K and W_V [layer, head, channel, width] and
    b_V [layer, head, channel] of attention layers, as the model holds them."""

    query: Tensor
    query_bias: Tensor
    key: Tensor
    value: Tensor
    value_bias: Tensor

    @classmethod
    def of(cls, parts: Sequence[tuple[Tensor, Tensor | None]], heads: int) -> PlainMaps:
        """Of one layer, as views. parts: weight [head · channel, width] and bias of query, key and value."""
        (query, key, value), (query_bias, _, value_bias) = zip(
            *((w.detach(), w.new_zeros(len(w)) if b is None else b.detach()) for w, b in parts), strict=True
        )
        key, value, value_bias = (part.unflatten(0, (heads, -1)) for part in (key, value, value_bias))
        return cls(*(part[None] for part in (query, query_bias[None], key, value, value_bias)))

    @classmethod
    def stacked(cls, layers: Sequence[PlainMaps]) -> PlainMaps:
        """Of several layers, in tensors of their own."""
        names = ("query", "query_bias", "key", "value", "value_bias")
        return cls(*(torch.cat([getattr(layer, name) for layer in layers]) for name in names))

    def some(self, layers: slice) -> PlainMaps:
        """Of some of them, as views."""
        parts = (self.query, self.query_bias, self.key, self.value, self.value_bias)
        return PlainMaps(*(part[layers] for part in parts))

    @cached_property
    def numbers(self) -> int:
        """In the weights of one layer."""
        return (self.query.numel() + self.key.numel() + self.value.numel()) // len(self.query)


def together(tokens: Float[Tensor, "image token width"], maps: PlainMaps) -> int:
    """How many layers are finished together: on a CPU as many as its cache holds, for a layer's tokens and weights lie
    there while the model itself reads them; on other devices as many as there is memory for, and large ones alone,
    which gain nothing."""
    each = tokens.numel() + maps.numbers
    if tokens.device.type == "cpu":
        return max(1, _IN_CACHE // each)
    return 1 if each > _LARGE else _AT_ONCE // each


def values_of(
    maps: PlainMaps, mean: Float[Tensor, "layer_image head width"]
) -> Float[Tensor, "image layer head channel"]:
    """W_V Σ_i a_i n_i + b_V, of what the heads of some layers read: Σ_i a_i n_i."""
    layers, heads, _, width = maps.value.shape
    mean = mean.unflatten(0, (layers, -1)).transpose(1, 2).reshape(layers * heads, -1, width)
    weight, bias = maps.value.flatten(0, 1).transpose(1, 2), maps.value_bias.flatten(0, 1)[:, None]
    half = weight.dtype in HALVES
    found = mixed_product(mean, weight).add_(bias) if half else torch.baddbmm(bias, mean, weight)
    return found.unflatten(0, (layers, heads)).permute(2, 0, 1, 3)


class PlainLayers:
    """Rows a = softmax((W_Q n_0 + b_Q)ᵀ W_K n_i / √c) and values of some layers, for their first token as the query.

    tokens: n, what keys and values read, [layer, image, token, width].
    """

    def __init__(self, maps: PlainMaps, tokens: Float[Tensor, "layer image token width"]) -> None:
        self.maps, self.tokens = maps, tokens
        self.half = tokens.dtype in HALVES
        self.rows = self._rows()

    def _rows(self) -> Float[Tensor, "layer image head token"]:
        """⟨q, W_K n⟩ = ⟨W_Kᵀ q, n⟩: no key is ever built; the key bias shifts a whole row and drops out."""
        layers, images, count, width = self.tokens.shape
        heads, query = self.maps.key.shape[1], self._queries()
        reads = torch.bmm(query, self.maps.key.flatten(0, 1)).view(layers, heads, images, width)
        reads = reads.transpose(1, 2).reshape(-1, heads, width)
        tokens = self.tokens.flatten(0, 1)
        if self.half:  # [token, head] lies as such products want it (`products`)
            logits = exact_product(tokens, reads.transpose(1, 2))
            return logits.softmax(dim=1).view(layers, images, count, heads).transpose(2, 3)
        logits = exact_product(reads, tokens.transpose(1, 2))
        return logits.softmax(dim=-1).view(layers, images, heads, count)

    def _queries(self) -> Float[Tensor, "layer_head image channel"]:
        """(W_Q n_0 + b_Q) / √c. Of a few images head by head, which a CPU's threads share among them: such a product
        takes as long as its weights are read."""
        maps, first = self.maps, self.tokens[:, :, 0]
        layers, images, _ = first.shape
        _, heads, channels, _ = maps.key.shape
        root = channels**-0.5
        if layers == 1 and first.device.type == "cpu" and not exporting() and images <= _FEW:
            weight, bias = maps.query.view(heads, channels, -1), maps.query_bias.view(heads, 1, channels)
            return torch.baddbmm(bias, first.expand(heads, -1, -1), weight.transpose(1, 2), beta=root, alpha=root)
        query = torch.baddbmm(maps.query_bias, first, maps.query.transpose(1, 2), beta=root, alpha=root)
        return query.view(layers, images, heads, channels).transpose(1, 2).reshape(-1, images, channels)

    @cached_property
    def values(self) -> Float[Tensor, "image layer head channel"]:
        """Σ_i a_i v_i = W_V Σ_i a_i n_i + b_V: the value map is applied once, not to every token. The sum over tokens
        where those of one large layer are there anyway."""
        if "token_values" in self.__dict__ and not self.half and len(self.tokens) == 1:
            return self.token_values.sum(dim=2).transpose(0, 1)
        return values_of(self.maps, mixed_product(self.rows.flatten(0, 1), self.tokens.flatten(0, 1)))

    def addends(self) -> Float[Tensor, "layer_image 2 head width"] | None:
        """Two parts of Σ_i a_i n_i, from which `values_of` makes the values of many layers at once. None where these
        are made as they are read."""
        rows, tokens = self.rows.flatten(0, 1), self.tokens.flatten(0, 1)
        return addends(rows, tokens) if in_addends(rows, tokens) else None

    def later(self) -> Tensor | Callable[[], Float[Tensor, "image layer head channel"]]:
        """`values`, or what makes them when they are asked for: until then what the heads read is kept."""
        if "token_values" in self.__dict__ and not self.half:
            return self.values
        parts, maps = self.addends(), self.maps
        if parts is not None:
            return lambda: values_of(maps, parts.sum(dim=1))
        return partial(values_of, maps, mixed_product(self.rows.flatten(0, 1), self.tokens.flatten(0, 1)))

    @cached_property
    def token_values(self) -> Float[Tensor, "layer image token head channel"]:
        """a_i v_i for every token."""
        if not self.half:
            return self._weighted(self._each())
        weight = self.maps.value.flatten(1, 2).transpose(1, 2)
        values = exact_product(self.tokens.flatten(1, 2), weight).add_(self.maps.value_bias.flatten(1)[:, None])
        return self._weighted(values)

    @cached_property
    def rounded(self) -> Float[Tensor, "layer image token head channel"]:
        """The same, rounded as the model rounds its own values."""
        return self._weighted(self._each()) if self.half else self.token_values

    def written(
        self, along: Float[Tensor, "layer head channel direction"], rounded: bool = False
    ) -> Float[Tensor, "image token direction"]:
        """Σ_l Σ_h Σ_c a_i v_{i,c} along_c: all these layers and heads together. rounded: as the model rounds."""
        values = (self.rounded if rounded else self.token_values).flatten(3).flatten(1, 2)
        product = rounded_product if rounded and self.half else torch.bmm
        found = product(values, along.flatten(1, 2)).sum(dim=0, dtype=self.rows.dtype)
        return found.unflatten(0, self.tokens.shape[1:3])

    def _each(self) -> Tensor:
        """v_i, in the model's precision."""
        if len(self.tokens) == 1:
            return F.linear(self.tokens, self.maps.value[0].flatten(0, 1), self.maps.value_bias[0].flatten())
        weight = self.maps.value.flatten(1, 2).transpose(1, 2)
        return torch.baddbmm(self.maps.value_bias.flatten(1)[:, None], self.tokens.flatten(1, 2), weight)

    def _weighted(self, values: Tensor) -> Tensor:
        layers, images, count, _ = self.tokens.shape
        values = values.view(layers, images, count, *self.maps.value_bias.shape[1:])
        return values.mul_(self.rows.transpose(2, 3)[..., None].to(values.dtype))


class ValuesLater:
    """What the heads of layers read, Σ_i a_i n_i, kept until the values of many layers are made in one product.

    maps: gives those of the layers from a first to a last one.
    """

    def __init__(self, maps: Callable[[int, int], PlainMaps]) -> None:
        self._maps = maps
        self._read: list[tuple[Sequence[int], Tensor]] = []
        self._made: list[Tensor] = []

    def add(self, numbers: Sequence[int], layers: PlainLayers) -> bool:
        """Takes in the next layers; False where their values are made as they are read."""
        parts = layers.addends()
        if parts is None:
            return False
        self._read.append((numbers, parts))
        if sum(each.numel() for _, each in self._read) > _MOST_READ:
            self._made = self.made()
        return True

    def made(self) -> list[Float[Tensor, "image layer head channel"]]:
        """The values of all layers that were taken in since this was asked last, in their order."""
        found, read, self._made, self._read = self._made, self._read, [], []
        if read:
            maps = self._maps(read[0][0][0], read[-1][0][-1])
            found.append(values_of(maps, torch.cat([parts for _, parts in read]).sum(dim=1)))
        return found
