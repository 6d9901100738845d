"""What every kind of image tower must tell about itself, and what one forward pass leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .bound import Bound
from .precision import unmixed
from .view import Reads, Visit

_MOST_KEPT = 2**26  # numbers: 256 MB


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

    held: Σ_i a_i v_i, [image, layer, head, channel], or what makes it at the first question for it. scale: 1/σ of the
    final LayerNorm (ones where there is none), [image]. rest: makes the other terms, at the first question for one of
    them; it holds no more than vectors of the pooled token. shares: only where the constants are split over the heads,
    as paper C's code does it. pooling: w_q, how much of each pooled token enters the output, where the tower pools
    tokens of its stream. streamed: makes what all heads together added to the stream, in the embedding space, from the
    stream itself; None where that is not at hand, or not to the precision of a sum.
    """

    held: Float[Tensor, "image layer head channel"] | Callable[[], Float[Tensor, "image layer head channel"]]
    scale: Float[Tensor, " image"]
    rest: Callable[[], Rest]
    shares: Shares | None = None
    pooling: Float[Tensor, "image query"] | None = None
    streamed: Callable[[Rest], Float[Tensor, "image embed"]] | None = None

    @cached_property
    def values(self) -> Float[Tensor, "image layer head channel"]:
        """Σ_i a_i v_i of every head."""
        if isinstance(self.held, Tensor):
            return self.held
        with torch.no_grad(), unmixed(self.scale.device):
            return self.held()

    def moved(self, values: Float[Tensor, "image layer head channel"]) -> Trace:
        """The same with other values of the heads."""
        return replace(self, held=values, streamed=None)

    @cached_property
    def _rest(self) -> Rest:
        with torch.no_grad(), unmixed(self.scale.device):
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
        return self.embedding + self._heads(maps) + self.mlps.sum(dim=1) + self.bias

    def sums(self, maps: HeadMaps) -> Float[Tensor, "image term embed"]:
        """All heads together, all MLPs, the embedding, and the constants. The first from the stream where that has it,
        as the guard has seen that both are the same."""
        heads = self._heads(maps) if self.streamed is None else self.streamed(self._rest)
        return torch.stack([heads, self.mlps.sum(dim=1), self.embedding, self.bias], dim=1)

    def _heads(self, maps: HeadMaps) -> Float[Tensor, "image embed"]:
        heads = torch.einsum("ilhc,lhce->ie", self.values * self.scale[:, None, None, None], maps.kept)
        return heads if self.shares is None else heads + self.values.shape[2] * self.shares.each().sum(dim=1)


@runtime_checkable
class Summed(Protocol):
    """A tower as a sum, of images or of texts: what a decomposition asks of it."""

    layers: int
    heads: int
    channels: int
    embed: int

    @property
    def dtype(self) -> torch.dtype:
        """What its linear maps are kept in."""
        ...

    def encode(self, inputs: Tensor, /) -> Tensor:
        """The wrapped model's own embedding, not normalised."""
        ...

    def head_maps(self) -> HeadMaps: ...

    @property
    def always_checked(self) -> bool: ...

    def confirm(self, trace: Trace, inputs: Tensor) -> None: ...

    def run(self, inputs: Tensor, /, visit: Visit | None = None) -> Trace:
        """One forward pass; `visit(layer, view)` is called for every attention layer while its inputs are alive."""
        ...


@runtime_checkable
class Tower(Summed, Protocol):
    """An image tower as a sum. `terms` names what it is a sum of, for tables and errors."""

    visual: nn.Module
    """The wrapped model's own image encoder, read and never changed."""
    kind: str
    terms: tuple[str, ...]
    image_size: tuple[int, int]
    grid: tuple[int, int]
    """Rows and columns of patch tokens; tokens are `prefix` others and then the grid, row by row."""
    prefix: int
    """Tokens before the grid: the class (or mean) token and registers; 0 where there is none."""


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
