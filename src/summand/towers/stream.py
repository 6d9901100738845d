"""One forward pass over a residual stream as its listeners see it: the pooled token, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from .base import Rest, Shares, Trace, working
from .linear import inverse_deviation
from .listening import Listener, enough, listening
from .plain import PlainLayers, PlainMaps, PlainView, ValuesLater, together
from .precision import unmixed
from .view import AttentionView, Visit

if TYPE_CHECKING:
    from .residual import ResidualTower

POSITIONS = ("rope", "shared_rel_pos")
"""What timm hands to every block beside the tokens."""

_AHEAD = 8  # listeners: those of two blocks and two more


class StreamPass:
    """The pooled token before and within every block, and what each attention read of the tokens for it.

    weights: of the tokens that are pooled, [image, query]. Little is done while the pass is under way, because behind
    a large product even a small step is slow: what only some questions need waits in the `Trace`, and layers that a
    class token reads plainly wait until several are finished together.
    """

    def __init__(self, tower: ResidualTower, visit: Visit | None, weights: Callable[[Tensor], Tensor]) -> None:
        self.tower, self.visit, self.weights = tower, visit, weights
        self.blocks, self.first = tower.blocks, tower.pooled_from
        self.values: list[Tensor] = []  # [image, layer, head, channel] of layers that were finished together
        self.waiting: list[tuple[int, Tensor, PlainMaps]] = []
        self.later = ValuesLater(tower.plain_maps)
        self.before: list[Tensor] = []  # the pooled token before each block
        self.middle: list[Tensor] = []  # and between its attention and its MLP
        self.masses: list[tuple[Tensor, Tensor] | None] = []  # what each layer's constants are multiplied with; ones
        self.pooling: Tensor | None = None
        self.positions: dict[str, Any] = {}
        self.ahead = None if tower.always_checked else _AHEAD  # code of others may call blocks in another order

    def of_class_token(self, pixels: Tensor) -> Trace:
        """The pass ends before the last block, of which only the class token is computed."""
        end = self._of_class_token(pixels)
        with unmixed(pixels.device):
            return self._trace(end, scaled=False)

    def numbers(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All that a trace of a class token is made of: values, 1/σ, the token that enters and the one that leaves, and
        what the MLPs add. Only of towers whose every layer is plain."""
        end = self._of_class_token(pixels)
        with unmixed(pixels.device):
            values, scale = self._values_and_scale(end, scaled=False)
            return values, scale, working(self.before[0]), end, _written(self.before, self.middle, end)

    def trace_of(self, numbers: tuple[Tensor, ...]) -> Trace:
        """The trace of these numbers."""
        values, scale, start, end, written = numbers
        self.masses = [None] * len(self.blocks)
        return self._trace_of(values, scale, end, lambda: (start, written))

    def _of_class_token(self, pixels: Tensor) -> Float[Tensor, "image width"]:
        entering: list[Tensor] = []

        def enter_last(tokens: Tensor) -> None:
            entering.append(self.tower.batch_first(tokens))
            enough()

        with listening(self._listeners(enter_last, None), self.tower.visual, self.ahead):
            self.tower.visual(pixels)
        self._check(entering)
        last, tokens = self.blocks[-1], entering[0]
        inputs = last.attention_input(tokens)
        with unmixed(tokens.device):
            view = self._look(len(self.blocks) - 1, inputs)
            self._finish()
            self.values += self.later.made()
            outputs = last.plain_outputs(view, self.values[-1][:, -1], inputs, self.positions)
            self.middle.append(working(self.before[-1]) + last.write(outputs))
        # In the model's own precision, and its own order of the axes: who listens to the neurons turns them as ever.
        alone = self.tower.batch_first(self.middle[-1][:, None].to(tokens.dtype))
        return self.middle[-1] + self.tower.batch_first(last.mlp(alone))[:, 0]

    def of_mean(self, pixels: Tensor, scaled: bool) -> Trace:
        """The whole pass. scaled: the final norm's σ is in the weights already."""
        ends: list[Tensor] = []

        def leave_last(tokens: Tensor) -> None:
            ends.append(self._pooled(tokens))
            enough()

        with listening(self._listeners(None, leave_last), self.tower.visual, self.ahead):
            self.tower.visual(pixels)
        self._check(ends)
        with unmixed(pixels.device):
            self._finish()
            return self._trace(working(ends[0]), scaled)

    def _listeners(
        self, enter_last: Callable[[Tensor], None] | None, leave_last: Callable[[Tensor], None] | None
    ) -> Iterator[Listener]:
        """Before a block: the pooled token. Before its attention: what keys and values read."""

        def enter(layer: int, tokens: Tensor, kwargs: dict[str, Any]) -> None:
            if kwargs:
                self.positions = {name: kwargs[name] for name in POSITIONS if kwargs.get(name) is not None}
            self.before.append(self._pooled(tokens))
            if enter_last is not None and layer == len(self.blocks) - 1:
                enter_last(tokens)

        def attend(layer: int, inputs: Tensor) -> None:
            self._look(layer, self.tower.batch_first(inputs))

        for layer, block in enumerate(self.blocks):
            yield block.module, "before", lambda tokens, kwargs, layer=layer: enter(layer, tokens, kwargs)
            if enter_last is not None and layer == len(self.blocks) - 1:
                return
            yield block.attention.module, "before", lambda inputs, _, layer=layer: attend(layer, inputs)
            yield block.before_mlp, "before", lambda tokens, _: self.middle.append(self._pooled(tokens))
        if leave_last is not None:
            yield self.blocks[-1].module, "after", leave_last

    def _look(self, layer: int, inputs: Tensor) -> AttentionView | None:
        """What an attention reads, as a view; None where it waits."""
        settled, plainly = not self.tower.always_checked, not (self.positions or self.tower.averaged)
        maps = self.blocks[layer].plain_maps(inputs, settled) if plainly else None
        if maps is not None:
            inputs = inputs.to(maps.query.dtype)
            self.waiting.append((layer, inputs, maps))
            self.masses.append(None)
            if not settled or len(self.waiting) >= together(inputs, maps):
                self._finish()
            return None
        self._finish()
        self.values += self.later.made()
        inputs = working(inputs)
        self.pooling = weights = self.weights(inputs)
        view, mass = self.blocks[layer].look(inputs, weights, self.first, self.positions)
        if self.visit is not None:
            self.visit(layer, view)
        self.values.append(view.values()[:, None])
        self.masses.append((mass, weights))
        return view

    def _finish(self) -> None:
        """The layers that wait, together."""
        if not self.waiting:
            return
        layers, inputs, maps = zip(*self.waiting, strict=True)
        self.waiting = []
        if len(layers) == 1:
            found = PlainLayers(maps[0], inputs[0][None])
        else:
            found = PlainLayers(self.tower.plain_maps(layers[0], layers[-1]), torch.stack(inputs))
        if self.visit is not None:
            for place, layer in enumerate(layers):
                self.visit(layer, PlainView(found, place))
        if self.tower.always_checked or not self.later.add(layers, found):
            self.values.append(found.values)

    def _pooled(self, tokens: Tensor) -> Float[Tensor, "image width"]:
        """A class token in the model's own precision, a mean in working precision."""
        tokens = self.tower.batch_first(tokens)
        if not self.tower.averaged:
            return torch.select_copy(tokens, 1, 0)
        tokens = working(tokens)
        return torch.einsum("iq,iqw->iw", self.weights(tokens), tokens[:, self.first :])

    def _check(self, reached: list[Tensor]) -> None:
        if not reached:
            raise SummandError("the forward pass never reached the last block; is the model wrapped or compiled?")

    def _trace(self, pooled: Tensor, scaled: bool) -> Trace:
        values, scale = self._values_and_scale(pooled, scaled)
        if self.tower.even_split:
            return self._evenly_split(values, pooled, scale)
        before, middle = self.before, self.middle
        return self._trace_of(values, scale, pooled, lambda: (working(before[0]), _written(before, middle, pooled)))

    def _values_and_scale(self, pooled: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        values = self.values[0] if len(self.values) == 1 else torch.cat(self.values, dim=1)
        if self.tower.norm is not None and not scaled:
            scale = inverse_deviation(self.tower.norm, pooled)
        else:
            scale = pooled.new_ones(pooled.shape[0])
        if self.pooling is None:
            self.pooling = scale.new_ones(scale.shape[0], 1)
        return values, scale

    def _trace_of(
        self, values: Tensor, scale: Tensor, pooled: Tensor, others: Callable[[], tuple[Tensor, Tensor]]
    ) -> Trace:
        """Terms in the width of the stream, brought to the embedding space when they are asked for. others: the token
        that enters, and what the MLPs add."""
        tower, masses = self.tower, self.masses
        pooling = scale.new_ones(scale.shape[0], 1) if self.pooling is None else self.pooling

        def rest() -> Rest:
            start, written = others()
            folded, one = tower.folded(), scale.new_ones(1)
            constants = [
                block.constant(one, one) if mass is None else block.constant(mass[0], mass[1].sum(dim=1))
                for block, mass in zip(tower.blocks, masses, strict=True)
            ]
            bias = (sum(constants[1:], constants[0]) @ folded) * scale[:, None]
            if tower.norm is not None and tower.norm.bias is not None:
                bias = bias + tower.projection(working(tower.norm.bias))
            return Rest(
                embedding=(start @ folded) * scale[:, None],
                mlps=(written @ folded) * scale[:, None, None],
                bias=bias + tower.projection.shift(pooled),
            )

        return Trace(values, scale, rest, pooling=pooling)

    def _evenly_split(self, values: Tensor, pooled: Tensor, scale: Tensor) -> Trace:
        """Paper C, A.1, and its code: L attention terms, L MLPs and the embedding each take 1/(2L + 1) of −μ γ/σ + β;
        a layer's attention passes its part and its output bias on to its heads, and they to their tokens, evenly."""
        tower, folded = self.tower, self.tower.folded()
        parts, one = 2 * tower.layers + 1, scale.new_ones(1)
        mean = pooled.mean(dim=-1)
        gain = folded.sum(dim=0)  # 1ᵀ diag(γ) P
        shift = torch.zeros_like(gain) if tower.norm.bias is None else tower.projection(working(tower.norm.bias))
        biases = torch.cat([block.constant(one, one) for block in tower.blocks]) @ folded
        each = torch.stack([biases, (gain / parts).expand_as(biases), (shift / parts).expand_as(biases)], dim=1)
        share = ((-mean * scale)[:, None] * gain + shift) / parts
        rest = Rest(
            embedding=(working(self.before[0]) @ folded) * scale[:, None] + share,
            mlps=(_written(self.before, self.middle, pooled) @ folded) * scale[:, None, None] + share[:, None],
            bias=tower.projection.shift(pooled).expand(pooled.shape[0], -1),
        )
        shares = Shares(torch.stack([scale, -mean * scale, torch.ones_like(scale)], dim=1), each / tower.heads)
        return Trace(values, scale, lambda: rest, shares, self.pooling)


def _written(before: list[Tensor], middle: list[Tensor], end: Tensor) -> Float[Tensor, "image layer width"]:
    """What every MLP adds to the pooled token: the stream behind it less the stream in front of it."""
    behind, ahead = ([working(each) for each in tokens] for tokens in ([*before[1:], end], middle))
    return torch.stack(behind, dim=1) - torch.stack(ahead, dim=1)
