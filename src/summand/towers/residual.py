"""Towers whose output is one norm and one linear map of a pooled residual stream: a sum over all layers (paper C)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SummandError
from .base import Trace, working
from .blocks import Block
from .guarded import Guarded
from .linear import Projection, inverse_deviation, normed, optional_norm
from .listening import first_of, listening, one_pass, watched
from .of_weights import OfWeights
from .recorded import Work, recorded
from .stream import POSITIONS, StreamPass, WrittenInPlace
from .view import Visit
from .walk import Begun, Parts, Steps, begun, called_with, untouched


class ResidualTower(OfWeights, Guarded):
    r"""M(x) = Fᵀ Σ_q w_q (z_q⁰ + Σ_l (Σ_h W_O^{l,h} Σ_i a_{q,i}^{l,h} v_i^{l,h} + b_O^l + MLP_q^l)) / σ + β P.

    Pooling is a choice of w: the class token alone (w = 1 at q = 0, paper C), or the mean over the patches. Where the
    final norm comes after the mean, σ is one number of the pooled vector; where it comes before it, every query has
    its own, w_q = 1/(N σ_q), known only when the pass is over: then the explanation takes two passes.

    The model's own forward runs, watched by hooks; of blocks that are known and hold no code of others, part by part
    (`walk`). For a class token it ends before the last block, of which only the class token is computed, since nothing
    else of it reaches the output; a last block that does more than its class says (a hook of the user's, a forward of
    its own) is run whole.

    A tower is a snapshot: what it makes of weights it makes once. `Model` makes a new one when the weights, modules,
    settings or hooks that it was made from have changed.
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
        self.norm: Any = optional_norm(norm, "its final norm")
        self.projection = projection
        self._averaged, self.norm_first, self._pooled_from = pool == "avg", norm_first, pooled_from
        self.image_size, self.grid, self.prefix = image_size, grid, prefix
        self.layers = len(blocks)
        sizes = {(block.attention.heads, block.attention.channels) for block in self._blocks}
        if len(sizes) > 1:
            raise SummandError("its layers differ in their number of heads or channels")
        self.heads, self.channels = sizes.pop()
        self.embed = projection.size(len(self._blocks[0].attention.out.weight))
        self._begin()
        transformer = getattr(visual, "transformer", None)  # the clip package's puts the tokens first and says nothing
        self._batch_first = transformer is None or bool(getattr(transformer, "batch_first", False))
        self._last_is_plain = untouched(blocks[-1])
        norms = [id(norm) for block in self._blocks for norm in (block.before, block.before_mlp)]
        handed = any(block.handed for block in self._blocks)
        self.through_norms = self.plain and not handed and len(set(norms)) == len(norms)
        """Whether every block reads its tokens through a norm of its own and is handed nothing else."""
        parts = [Parts.of(block) for block in blocks] if self.through_norms else []
        self.parts = [each for each in parts if each is not None] if parts and None not in parts else None
        """The parts of all blocks, where a pass can be made by calling them."""
        self.adds_in_place = False
        """Whether blocks were seen to write to their stream."""
        self.even_split = False
        self._recordings: dict[tuple[int, torch.dtype], Work] = {}
        self._split: ResidualTower | None = None

    @property
    def blocks(self) -> list[Block]:
        return self._blocks

    def reader(self, layer: int) -> nn.Module:
        """The module that is given the stream that enters a block, and nothing else."""
        return self._blocks[layer].module if self.parts is None else self._blocks[layer].before

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
        if self._averaged or self.norm is None or not plain:
            raise SummandError(
                f"parity='paper' is defined for a class token, a final LayerNorm and plain pre-norm blocks (paper C); "
                f"this {self.kind} has something else"
            )
        if self._split is None:
            split = copy.copy(self)
            split.even_split = True
            split._begin()
            self._split = split
        return self._split

    @property
    def dtype(self) -> torch.dtype:
        """What its linear maps are kept in."""
        return self._blocks[0].attention.out.weight.dtype

    @property
    def pooled_from(self) -> int:
        """The first token that is pooled."""
        return self._pooled_from if self._averaged else 0

    def readout(self, tokens: Float[Tensor, "image token width"]) -> Float[Tensor, "image embed"]:
        """The output of a stream that has left the last block, as the model itself reads it."""
        tokens = working(tokens)
        if not self._averaged:
            pooled = normed(self.norm, tokens[:, 0])
        elif self.norm_first:
            pooled = normed(self.norm, tokens[:, self._pooled_from :]).mean(dim=1)
        else:
            pooled = normed(self.norm, tokens[:, self._pooled_from :].mean(dim=1))
        return self.projection(pooled) + self.projection.shift(pooled)

    @torch.no_grad()
    def begin(self, pixels: Tensor) -> Begun | None:
        """A pass that `run` can go on with. None where it cannot be begun by itself."""
        weight = self._blocks[0].attention.out.weight
        if self._recordable(pixels):
            play = self._recordings.get((len(pixels), pixels.dtype))
            return None if play is None else Begun(self, weight, numbers=play(pixels))
        steps = begun(self, pixels)
        return None if steps is None else Begun(self, weight, steps)

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None, ahead: Begun | None = None) -> Trace:
        """One forward pass, as in `Summed`. ahead: the one that `begin` has begun with these pixels."""
        self.verify("sum", pixels)
        if visit is None and not watched() and self._recordable(pixels):
            return self._played(pixels, ahead)
        with one_pass():
            try:
                trace = self._run(pixels, visit, None if ahead is None else ahead.steps)
            except WrittenInPlace:
                if visit is not None:  # first seen where the sum was checked, which nobody visits
                    raise SummandError("a block of this model writes to its stream in some passes only") from None
                trace = self._run(pixels, visit)
        self.confirm(trace, pixels)
        return trace

    def _recordable(self, pixels: Tensor) -> bool:
        """Whether such a pass is to be played back."""
        if not self.recorded_batches or len(pixels) not in self.recorded_batches:
            return False
        if torch.is_autocast_enabled(pixels.device.type):
            return False
        return not self.always_checked and self.records

    @property
    def records(self) -> bool:
        """Whether a pass can be written down: of a class token that every layer reads plainly."""
        if self._averaged or self.even_split or not self._last_is_plain:
            return False
        return all(block.plain and block.attention.plain_maps() is not None for block in self._blocks)

    def _played(self, pixels: Tensor, ahead: Begun | None) -> Trace:
        key = (len(pixels), pixels.dtype)
        with one_pass():
            if ahead is not None and ahead.numbers is not None:
                return self._stream_pass(None).trace_of(ahead.numbers)
            if key not in self._recordings:
                self._recordings[key] = recorded(lambda given: self._stream_pass(None).numbers(given), pixels)
            return self._stream_pass(None).trace_of(self._recordings[key](pixels))

    def _stream_pass(self, visit: Visit | None, steps: Steps | None = None) -> StreamPass:
        return StreamPass(self, visit, lambda tokens: tokens.new_ones(tokens.shape[0], 1), steps)

    def _run(self, pixels: Tensor, visit: Visit | None, steps: Steps | None = None) -> Trace:
        if not self._averaged:
            one = self._stream_pass(visit, steps)
            return one.of_class_token(pixels) if self._last_is_plain else one.of_mean(pixels, scaled=False)
        if self.norm is None or not self.norm_first:
            return StreamPass(self, visit, self._even, steps).of_mean(pixels, scaled=False)
        ends: list[Tensor] = []
        with listening([(self._blocks[-1].module, "after", ends.append)], self.visual):
            self.visual(pixels)
        last = working(self.batch_first(ends[0]))[:, self._pooled_from :]
        weights = inverse_deviation(self.norm, last) / last.shape[1]
        return StreamPass(self, visit, lambda _: weights).of_mean(pixels, scaled=True)

    def _even(self, tokens: Tensor) -> Float[Tensor, "image query"]:
        count = tokens.shape[1] - self._pooled_from
        return tokens.new_full((tokens.shape[0], count), 1 / count)

    def batch_first(self, tokens: Tensor) -> Tensor:
        return tokens if self._batch_first else tokens.transpose(0, 1)

    def final_normed(self, stream: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return normed(self.norm, stream)

    def to_embedding(self, stream: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch embed"]:
        """The final norm and the projection of any vectors of the stream, differentiable."""
        stream = self.final_normed(stream)
        return self.projection(stream) + self.projection.shift(stream)

    def finish(self, tokens: Float[Tensor, "image token width"]) -> Float[Tensor, "image embed"]:
        """What the tower does behind its blocks: pooling, norm, projection. Differentiable."""
        if not self._averaged:
            return self.to_embedding(tokens[:, 0])
        if self.norm_first:
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
        call = called_with(self._blocks[0].module, self.visual, lambda: self.visual(pixels))
        if call is None:
            raise SummandError("the forward pass never reached the first block; is the model wrapped or compiled?")
        positions = {name: call[1][name] for name in POSITIONS if call[1].get(name) is not None}
        return self.batch_first(first_of(*call)), positions
