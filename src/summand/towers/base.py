"""What every kind of image tower must tell about itself, and what one forward pass leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .bound import Bound
from .precision import unmixed

_MOST_KEPT = 2**26  # numbers: 256 MB


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
        self, along: Float[Tensor, "head channel direction"], read: Reads | None = None, layer: int = 0
    ) -> Float[Tensor, "image token direction"]:
        """Σ_h Σ_c a_i v_{i,c} along_c: all heads together. read: where W_V along of each layer is kept, which is of the
        weights alone."""
        if self._maps_first(along.shape[-1]):
            maps = self._through_values(along) if read is None else self._kept(along, read, layer)
            return (self._unweighted(*maps) * self.row.transpose(1, 2)[..., None]).sum(dim=2)
        return self.token_values().flatten(2) @ along.flatten(0, 1)

    def _maps_first(self, directions: int) -> bool:
        """Whether (n W_V along) takes less work as n (W_V along): so it is for fewer directions than channels."""
        _, channels, width = self.value_weight.shape
        tokens = len(self.inputs) * self.inputs.shape[1]
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


@dataclass(frozen=True)
class HeadMaps:
    """The weight-only part of the heads: direction of every value channel through everything that follows, at unit σ.

    kept: W_O^{l,h} F, [layer, head, channel, embed], as the tower keeps it: to be read, never written to.
    """

    kept: Float[Tensor, "layer head channel embed"]
    _last: dict[str, tuple[Tensor, Tensor, Reads]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def directions(self) -> Float[Tensor, "layer head channel embed"]:
        """W_O^{l,h} F, a copy."""
        return self.kept.clone()

    def toward(self, texts: Float[Tensor, "text embed"]) -> Float[Tensor, "layer head channel text"]:
        """⟨a channel's direction, text⟩; differentiable with respect to texts that require a gradient."""
        along = self.along(texts)
        return along if along.requires_grad else along.clone()

    def along(self, texts: Float[Tensor, "text embed"]) -> Float[Tensor, "layer head channel text"]:
        """The same, kept for the texts asked for last, as one set of texts is drawn over many images: to be read, never
        written to."""
        texts = texts.to(self.kept)
        if wants_gradient(texts):
            return self.kept @ texts.T
        return self._toward(texts)[1]

    def reads(self, texts: Float[Tensor, "text embed"]) -> Reads | None:
        """What is kept with `along` for these texts by the attention that reads them; None where nothing is."""
        texts = texts.to(self.kept)
        many = len(texts) * self.kept.shape[1] * self.kept[..., 0].numel() > _MOST_KEPT // 8
        return None if many or wants_gradient(texts) else self._toward(texts)[2]

    def _toward(self, texts: Float[Tensor, "text embed"]) -> tuple[Tensor, Tensor, Reads]:
        kept = self._last.get("texts")
        if kept is None or not torch.equal(kept[0], texts):
            with torch.inference_mode(False), torch.no_grad():
                kept = (texts.clone(), self.kept @ texts.T, {})
            if kept[1].numel() <= _MOST_KEPT:
                self._last["texts"] = kept
        return kept


@dataclass(frozen=True)
class Shares:
    """Constants that paper C's code deals out evenly (A.1): what every head of a layer gets besides its own term.

    coefficients × directions, of which every token has an equal part. coefficients: [image, share]; directions:
    [layer, share, embed].
    """

    coefficients: Float[Tensor, "image share"]
    directions: Float[Tensor, "layer share embed"]

    def each(self) -> Float[Tensor, "image layer embed"]:
        """For one head, all tokens together."""
        return torch.einsum("is,lse->ile", self.coefficients, self.directions)


@dataclass(frozen=True)
class Rest:
    """The terms that are not heads, in the embedding space: embedding [image, embed]; mlps [image, layer, embed]; bias,
    every constant term, [image, embed]."""

    embedding: Float[Tensor, "image embed"]
    mlps: Float[Tensor, "image mlp_layer embed"]
    bias: Float[Tensor, "image embed"]


@dataclass(frozen=True)
class Trace(Bound):
    """What one pass leaves at the pooled token. Every term is already in the embedding space but the head values.

    values: Σ_i a_i v_i, [image, layer, head, channel]. scale: 1/σ of the final LayerNorm (ones where there is none),
    [image]. rest: makes the other terms, at the first question for one of them; it holds no more than vectors of the
    pooled token. shares: only where the constants are split over the heads, as paper C's code does it. pooling: w_q,
    how much of each pooled token enters the output, where the tower pools tokens of its stream.
    """

    values: Float[Tensor, "image layer head channel"]
    scale: Float[Tensor, " image"]
    rest: Callable[[], Rest]
    shares: Shares | None = None
    pooling: Float[Tensor, "image query"] | None = None

    @cached_property
    def _rest(self) -> Rest:
        with torch.no_grad(), unmixed(self.values.device):
            return self.rest()

    @property
    def embedding(self) -> Float[Tensor, "image embed"]:
        return self._rest.embedding

    @property
    def mlps(self) -> Float[Tensor, "image mlp_layer embed"]:
        return self._rest.mlps

    @property
    def bias(self) -> Float[Tensor, "image embed"]:
        return self._rest.bias

    def copied(self) -> Trace:
        """The same in tensors of its own."""
        shares, pooling = self.shares, self.pooling
        rest = Rest(self.embedding.clone(), self.mlps.clone(), self.bias.clone())
        return Trace(
            self.values.clone(),
            self.scale.clone(),
            lambda: rest,
            None if shares is None else Shares(shares.coefficients.clone(), shares.directions.clone()),
            None if pooling is None else pooling.clone(),
        )

    def total(self, maps: HeadMaps) -> Float[Tensor, "image embed"]:
        """The sum of all terms, M(x), without a term of its own for every head."""
        heads = torch.einsum("ilhc,lhce->ie", self.values * self.scale[:, None, None, None], maps.kept)
        total = self.embedding + heads + self.mlps.sum(dim=1) + self.bias
        return total if self.shares is None else total + self.values.shape[2] * self.shares.each().sum(dim=1)


class Guarded(Bound):
    """A tower whose identities are checked when they are first used. guard: set by the model that the tower is of."""

    guard: Any = None
    keep = "copy or pickle the summand.Model, which makes its towers anew"

    def verify(self, what: Any, inputs: Tensor) -> bool:
        """Raises `SummandError` where the identity `what` does not hold for the first of the inputs. Whether it had to
        be checked, for the first time in this state of the model."""
        return self.guard is not None and self.guard(self, what, inputs)

    @property
    def always_checked(self) -> bool:
        """Whether the model holds code of others, which may do something else at every pass."""
        return self.guard is not None and self.guard.always

    def confirm(self, trace: Trace, inputs: Tensor) -> None:
        """Raises `SummandError` where the terms of this very pass do not sum to the model's embedding of these inputs;
        looked at only where the model is `always_checked`."""
        if self.guard is not None:
            self.guard.confirm(self, trace, inputs)


@runtime_checkable
class Tower(Protocol):
    """An image tower as a sum. `terms` names what it is a sum of, for tables and errors."""

    visual: nn.Module
    """The wrapped model's own image encoder, read and never changed."""
    kind: str
    terms: tuple[str, ...]
    layers: int
    heads: int
    channels: int
    embed: int
    image_size: tuple[int, int]
    grid: tuple[int, int]
    """Rows and columns of patch tokens; tokens are `prefix` others and then the grid, row by row."""
    prefix: int
    """Tokens before the grid: the class (or mean) token and registers; 0 where there is none."""

    def encode(self, pixels: Tensor, /) -> Tensor:
        """The wrapped model's own embedding, not normalised."""
        ...

    def head_maps(self) -> HeadMaps: ...

    @property
    def always_checked(self) -> bool: ...

    def confirm(self, trace: Trace, inputs: Tensor) -> None: ...

    def run(self, pixels: Tensor, visit: Visit | None = None) -> Trace:
        """One forward pass; `visit(layer, view)` is called for every attention layer while its inputs are alive."""
        ...


def working(tensor: Tensor) -> Tensor:
    """σ, attention rows and sums are computed in fp32, or in fp64 for a model in fp64."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def wants_gradient(directions: Tensor) -> bool:
    """Whether what is made of these directions must lead back to them."""
    return directions.requires_grad and torch.is_grad_enabled()


def of_weights(device: torch.device) -> AbstractContextManager[Any]:
    """Where something is made of weights alone, to be kept: in full precision whatever the caller computes in, without
    gradients, and as ordinary tensors also inside `torch.inference_mode`, so that it can be used outside."""
    stack = ExitStack()
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.no_grad())
    stack.enter_context(unmixed(device))
    return stack
