"""Layers that are finished together, each as any attention is seen."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from .base import working
from .plain import PlainLayers
from .products import rounded_product
from .view import AttentionView, Reads


class PlainView(AttentionView):
    """One of these layers, as any attention is seen: what the model holds in half precision is handed out in fp32."""

    layers: PlainLayers
    place: int

    def __init__(self, layers: PlainLayers, place: int) -> None:
        self.__dict__.update(layers=layers, place=place)

    def __getattr__(self, name: str) -> Tensor:
        """row, inputs, value_weight and value_bias of this layer, made where they are read."""
        maps, tokens = self.layers.maps, self.layers.tokens
        held = {"inputs": tokens, "value_weight": maps.value, "value_bias": maps.value_bias}
        if name == "row":
            return self.layers.rows[self.place]
        if name not in held:
            raise AttributeError(name)
        return self.__dict__.setdefault(name, working(held[name][self.place]))

    def values(self) -> Float[Tensor, "image head channel"]:
        return self.layers.values[:, self.place]

    def token_values(self) -> Float[Tensor, "image token head channel"]:
        return self.layers.token_values[self.place]

    def written(
        self,
        along: Float[Tensor, "head channel direction"],
        read: Reads | None = None,
        layer: int = 0,
        rounded: Float[Tensor, "head channel direction"] | None = None,
    ) -> Float[Tensor, "image token direction"]:
        if rounded is None or not self.layers.half:
            return super().written(along, read, layer)
        values = self.layers.rounded[self.place].flatten(2).flatten(0, 1)[None]
        return rounded_product(values, rounded.flatten(0, 1)[None])[0].unflatten(0, self.layers.tokens.shape[1:3])

    def _maps_first(self, directions: int) -> bool:
        return not self.layers.half and super()._maps_first(directions)


def group_of(view: AttentionView, layer: int) -> tuple[range, PlainLayers] | None:
    """The layers that are finished together with this one; None where it is alone."""
    if not isinstance(view, PlainView) or len(view.layers.tokens) == 1:
        return None
    return range(layer - view.place, layer - view.place + len(view.layers.tokens)), view.layers
