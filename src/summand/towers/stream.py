"""One forward pass over a residual stream as its listeners see it: the pooled token, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from .base import Rest, Trace, working
from .even_split import evenly_split
from .linear import inverse_deviation
from .listening import Listener, enough, exporting, listening
from .plain import PlainLayers, PlainMaps, ValuesLater, together
from .plain_view import PlainView
from .precision import unmixed
from .products import HALVES
from .view import AttentionView, Visit

if TYPE_CHECKING:
    from .residual import ResidualTower

POSITIONS = ("rope", "shared_rel_pos")
"""What timm hands to every block beside the tokens."""

_AHEAD = 8  # listeners: those of two blocks and two more
_LATER = 1 << 24  # numbers that heads read, which are kept for values that may never be asked for

_Values = Tensor | Callable[[], Tensor]
"""Σ_i a_i v_i, [image, layer, head, channel], or what makes it."""


class StreamPass:
    """The pooled token before and within every block, and what each attention read of the tokens for it.

    weights: of the tokens that are pooled, [image, query]. Little is done while the pass is under way, because behind
    a large product even a small step is slow: what only some questions need waits in the `Trace`, and layers that a
    class token reads plainly wait until several are finished together.
    """

    def __init__(self, tower: ResidualTower, visit: Visit | None, weights: Callable[[Tensor], Tensor]) -> None:
        self.tower, self.visit, self.weights = tower, visit, weights
        self.blocks, self.first = tower.blocks, tower.pooled_from
        self.values: list[_Values] = []  # of layers that were finished together
        self.waiting: list[tuple[int, Tensor, PlainMaps]] = []
        self.later = ValuesLater(tower.plain_maps)
        self.before: list[Tensor] = []  # the pooled token before each block
        self.middle: list[Tensor] = []  # and between its attention and its MLP
        self.masses: list[tuple[Tensor, Tensor] | None] = []  # what each layer's constants are multiplied with; ones
        self.pooling: Tensor | None = None
        self.positions: dict[str, Any] = {}
        # Nothing waits for the first step on a CPU; and code of others may call blocks in another order.
        self.ahead = None if tower.always_checked or tower.device.type == "cpu" else _AHEAD

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
            return _made(values), scale, working(self.before[0]), end, _written(self.before, self.middle, end)

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
            self.values[-1] = values = _made(self.values[-1])
            outputs = last.plain_outputs(view, values[:, -1], inputs, self.positions)
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
        if self._can_wait(found):
            self.values.append(found.later())
        elif self.tower.always_checked or not self.later.add(layers, found):
            self.values.append(found.values)

    def _can_wait(self, found: PlainLayers) -> bool:
        """Whether the values of heads are made when they are asked for: who visits the tokens may not ask for them, and
        they take the whole value map."""
        if self.visit is None or self.tower.always_checked or exporting():
            return False
        _, images, heads, _ = found.rows.shape
        return len(self.blocks) * images * heads * found.tokens.shape[-1] <= _LATER

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
            written = _written(self.before, self.middle, pooled)
            start = working(self.before[0])
            return evenly_split(self.tower, _made(values), start, written, pooled, scale, self.pooling)
        before, middle = self.before, self.middle
        return self._trace_of(values, scale, pooled, lambda: (working(before[0]), _written(before, middle, pooled)))

    def _values_and_scale(self, pooled: Tensor, scaled: bool) -> tuple[_Values, Tensor]:
        values = partial(_side_by_side, self.values)
        if not any(map(callable, self.values)):
            values = values()
        if self.tower.norm is not None and not scaled:
            scale = inverse_deviation(self.tower.norm, pooled)
        else:
            scale = pooled.new_ones(pooled.shape[0])
        if self.pooling is None:
            self.pooling = scale.new_ones(scale.shape[0], 1)
        return values, scale

    def _trace_of(
        self, values: _Values, scale: Tensor, pooled: Tensor, others: Callable[[], tuple[Tensor, Tensor]]
    ) -> Trace:
        """Terms in the width of the stream, brought to the embedding space when they are asked for. others: the token
        that enters, and what the MLPs add."""
        tower = self.tower
        pooling = scale.new_ones(scale.shape[0], 1) if self.pooling is None else self.pooling
        plain = all(mass is None for mass in self.masses)
        constant = tower.constant if plain and not tower.always_checked else self._constant(scale)

        def rest() -> Rest:
            start, written = others()
            vectors = (torch.cat([start[:, None], written], dim=1) @ tower.folded()) * scale[:, None, None]
            bias, shift = constant() * scale[:, None], tower.norm_shift()
            bias = (bias if shift is None else bias + shift) + tower.projection.shift(pooled)
            return Rest(embedding=vectors[:, 0], mlps=vectors[:, 1:], bias=bias)

        def streamed(rest: Rest) -> Tensor:
            whole = (pooled @ tower.folded() - constant()) * scale[:, None]
            return whole - rest.embedding - rest.mlps.sum(dim=1)

        rounded = tower.dtype in HALVES or torch.is_autocast_enabled(scale.device.type)
        at_hand = plain and not tower.always_checked and not rounded
        return Trace(values, scale, rest, pooling=pooling, streamed=streamed if at_hand else None)

    def _constant(self, scale: Tensor) -> Callable[[], Float[Tensor, "one_or_image embed"]]:
        """What all layers' output biases add, at unit σ, as the pooled query meets them."""
        tower, masses, one = self.tower, self.masses, scale.new_ones(1)

        def constant() -> Tensor:
            each = [
                block.constant(one, one) if mass is None else block.constant(mass[0], mass[1].sum(dim=1))
                for block, mass in zip(tower.blocks, masses, strict=True)
            ]
            return sum(each[1:], each[0]) @ tower.folded()

        return constant


def _made(values: _Values) -> Float[Tensor, "image layer head channel"]:
    return values if isinstance(values, Tensor) else values()


def _side_by_side(values: list[_Values]) -> Float[Tensor, "image layer head channel"]:
    made = [_made(each) for each in values]
    return made[0] if len(made) == 1 else torch.cat(made, dim=1)


def _written(before: list[Tensor], middle: list[Tensor], end: Tensor) -> Float[Tensor, "image layer width"]:
    """What every MLP adds to the pooled token: the stream behind it less the stream in front of it."""
    behind, ahead = ([working(each) for each in tokens] for tokens in ([*before[1:], end], middle))
    return torch.stack(behind, dim=1) - torch.stack(ahead, dim=1)
