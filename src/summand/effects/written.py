"""What all heads write toward some directions, token by token, summed as the layers come."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..towers.base import working
from ..towers.plain_view import group_of
from ..towers.view import AttentionView, Reads


@dataclass
class Writing:
    """Σ_l Σ_h a_i v_i along^{l,h}: `visit` is called for every layer of a pass.

    along: [layer, head, channel, direction]; halved: the same as a model in half precision rounds it, where products
    are wanted as it rounds its own. layers: which are summed, all if None. reads: what is kept for these directions.
    """

    along: Tensor
    halved: Tensor | None
    layers: frozenset[int] | None
    reads: Reads | None
    _total: Tensor | None = field(default=None, init=False)

    def visit(self, layer: int, view: AttentionView) -> None:
        if self.layers is None or layer in self.layers:
            with torch.set_grad_enabled(self.along.requires_grad):
                written = self._of(layer, view)
                if written is not None:
                    self._total = working(written) if self._total is None else self._total.add_(written)

    def _of(self, layer: int, view: AttentionView) -> Tensor | None:
        """What the layer writes, or, at the last one of a group, the group."""
        group = group_of(view, layer)
        if group is None or not (self.layers is None or set(group[0]) <= self.layers):
            return view.written(
                self.along[layer], self.reads, layer, None if self.halved is None else self.halved[layer]
            )
        together, layers = group
        if layer != together[-1]:
            return None
        along = self.along if self.halved is None else self.halved
        return layers.written(along[together.start : together.stop], self.halved is not None)

    def total(self) -> Float[Tensor, "image token direction"]:
        assert self._total is not None
        return self._total
