"""An attention layer seen from the pooled token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class AttentionView:
    """One attention layer seen from the pooled token: the row a of its query, and where values come from.

    row: softmax weights of the pooled query, [image, head, token]. They sum to one for a class token; where several
    queries are pooled the row is their weighted sum, and where a norm stands between the heads and the stream (sub-LN,
    post-norm) it carries that norm's 1/σ. inputs: what keys and values read (after the LayerNorm), [image, token,
    width]. value_weight: [head, channel, width]; value_bias: [head, channel].
    """

    row: Float[Tensor, "image head token"]
    inputs: Float[Tensor, "image token width"]
    value_weight: Float[Tensor, "head channel width"]
    value_bias: Float[Tensor, "head channel"]

    def values(self) -> Float[Tensor, "image head channel"]:
        """Σ_i a_i v_i = W_V Σ_i a_i n_i + b_V Σ_i a_i: the value map is applied once, not to every token."""
        if "_token_values" in self.__dict__:  # somebody has asked for every token
            return self._token_values.sum(dim=1)
        mean_input = self.row @ self.inputs  # [image, head, width]
        read = torch.bmm(mean_input.transpose(0, 1), self.value_weight.transpose(1, 2)).transpose(0, 1)
        return torch.addcmul(read, self.row.sum(dim=-1, keepdim=True), self.value_bias)

    def token_values(self) -> Float[Tensor, "image token head channel"]:
        """a_i v_i for every token."""
        return self._token_values

    def of_head(self, head: int) -> Float[Tensor, "image token channel"]:
        """a_i v_i of one head, without those of the others."""
        values = F.linear(self.inputs, self.value_weight[head], self.value_bias[head])
        return values * self.row[:, head, :, None]

    @cached_property
    def _token_values(self) -> Float[Tensor, "image token head channel"]:
        heads, channels, width = self.value_weight.shape
        values = F.linear(self.inputs, self.value_weight.reshape(-1, width), self.value_bias.flatten())
        return values.unflatten(-1, (heads, channels)).mul_(self.row.transpose(1, 2)[..., None])

    def toward(
        self,
        along: Float[Tensor, "head channel direction"],
        out: Float[Tensor, "image head token direction"],
    ) -> None:
        """Σ_c a_i v_{i,c} along_c of every head, into `out`."""
        if self._maps_first(along.shape[-1]):
            torch.mul(self._unweighted(*self._through_values(along)).transpose(1, 2), self.row[..., None], out=out)
            return
        for values, image in zip(self.token_values(), out, strict=True):  # straight to where it stays: no copy
            torch.bmm(values.transpose(0, 1), along, out=image)

    def each_toward(
        self, along: Float[Tensor, "head channel direction"]
    ) -> Float[Tensor, "image head token direction"]:
        """`toward` as a new tensor, differentiable with respect to `along`."""
        return torch.einsum("ithc,hcd->ihtd", self.token_values(), along)

    def written(
        self,
        along: Float[Tensor, "head channel direction"],
        read: Reads | None = None,
        layer: int = 0,
        rounded: Float[Tensor, "head channel direction"] | None = None,
    ) -> Float[Tensor, "image token direction"]:
        """Σ_h Σ_c a_i v_{i,c} along_c: all heads together. read: where W_V along of each layer is kept, which is of the
        weights alone. rounded: `along` in the model's half precision, where an answer as the model rounds will do."""
        if self._maps_first(along.shape[-1]):
            maps = self._through_values(along) if read is None else self._kept(along, read, layer)
            return (self._unweighted(*maps) * self.row.transpose(1, 2)[..., None]).sum(dim=2)
        return self.token_values().flatten(2) @ along.flatten(0, 1)

    def _maps_first(self, directions: int) -> bool:
        """Whether (n W_V along) takes less work as n (W_V along): so it is for fewer directions than channels."""
        _, channels, width = self.value_weight.shape
        tokens = self.inputs.shape[0] * self.inputs.shape[1]
        return directions * width * (channels + tokens) < tokens * channels * (width + directions)

    def _through_values(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """W_V along, [width, head · direction], and b_V along, [head · direction]."""
        maps = torch.bmm(self.value_weight.transpose(1, 2), along).transpose(0, 1).flatten(1)
        return maps, torch.bmm(self.value_bias[:, None], along).flatten()

    def _kept(self, along: Tensor, read: Reads, layer: int) -> tuple[Tensor, Tensor]:
        if layer not in read:
            with torch.inference_mode(False), torch.no_grad():
                read[layer] = self._through_values(along)
        return read[layer]

    def _unweighted(self, maps: Tensor, shift: Tensor) -> Float[Tensor, "image token head direction"]:
        """v_i along, through n (W_V along)."""
        found = torch.addmm(shift, self.inputs.flatten(0, 1), maps)
        return found.view(*self.inputs.shape[:2], self.row.shape[1], -1)


Reads = dict[int, tuple[Tensor, Tensor]]
"""Layer → W_V along and b_V along, for one set of directions."""

Visit = Callable[[int, AttentionView], None]
