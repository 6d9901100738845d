"""One forward pass over a residual stream as its listeners see it: the pooled token, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from .base import Trace, working
from .eager import eagerly, exporting
from .even_split import evenly_split
from .listening import Listener, by_parts, enough, listening
from .plain import PlainLayers, PlainMaps, ValuesLater, together
from .plain_view import PlainView
from .pooled import PooledTokens
from .precision import unmixed
from .traced import Mass, Values, made, scale_of, together_made, traced
from .view import AttentionView, Visit
from .walk import Steps, walkable
from .walk import steps as walked

if TYPE_CHECKING:
    from .residual import ResidualTower

POSITIONS = ("rope", "shared_rel_pos")
"""What timm hands to every block beside the tokens."""

_AHEAD = 8  # listeners: those of two blocks and two more
_LATER = 1 << 24  # numbers that heads read, which are kept for values that may never be asked for


class WrittenInPlace(Exception):
    """A block has written to its stream, so that the tokens that were seen of it are gone: the pass is made again."""


class StreamPass:
    """The pooled token before and within every block, and what each attention read of the tokens for it.

    weights: of the tokens that are pooled, [image, query]. steps: of a pass that was begun (`walk`). Little is done
    while the pass is under way, because behind a large product even a small step is slow: what only some questions need
    waits in the `Trace`, and layers that a class token reads plainly wait until several are finished together.
    """

    def __init__(
        self,
        tower: ResidualTower,
        visit: Visit | None,
        weights: Callable[[Tensor], Tensor],
        steps: Steps | None = None,
    ) -> None:
        self.tower, self.visit, self.weights, self.steps = tower, visit, weights, steps
        self.blocks, self.first = tower.blocks, tower.pooled_from
        self.values: list[Values] = []  # of layers that were finished together
        self.waiting: list[tuple[int, Tensor, PlainMaps]] = []
        self.later = ValuesLater(tower.plain_maps)
        self.pooled = PooledTokens(tower, weights)
        self.masses: list[Mass] = []
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
            scale = scale_of(self.tower, end, scaled=False)
            return made(together_made(self.values)), scale, self.pooled.start(), end, self.pooled.written(end)

    def trace_of(self, numbers: tuple[Tensor, ...]) -> Trace:
        """The trace of these numbers."""
        values, scale, start, end, written = numbers
        ones, plain = scale.new_ones(scale.shape[0], 1), [None] * len(self.blocks)
        return traced(self.tower, values, scale, end, plain, ones, lambda: (start, written))

    def _of_class_token(self, pixels: Tensor) -> Float[Tensor, "image width"]:
        entering = [self.tower.batch_first(each) for each in self._passed(pixels, whole=False)]
        last, tokens = self.blocks[-1], entering[0]
        with by_parts():
            inputs = entering[1] if len(entering) > 1 else last.attention_input(tokens)
        with unmixed(tokens.device):
            view = self._look(len(self.blocks) - 1, inputs)
            self._finish()
            self.values += self.later.made()
            self.values[-1] = values = made(self.values[-1])
            outputs = last.plain_outputs(view, values[:, -1], inputs, self.positions)
            middle = working(self.pooled.before[-1]) + last.write(outputs)
            self.pooled.middle.append(middle)
        # In the model's own precision, and its own order of the axes: who listens to the neurons turns them as ever.
        alone = self.tower.batch_first(middle[:, None].to(tokens.dtype))
        with by_parts():
            return middle + self.tower.batch_first(last.mlp(alone))[:, 0]

    def of_mean(self, pixels: Tensor, scaled: bool) -> Trace:
        """The whole pass. scaled: the final norm's σ is in the weights already."""
        (end,) = self._passed(pixels, whole=True)
        with unmixed(pixels.device):
            self._finish()
            return self._trace(end, scaled)

    def _passed(self, pixels: Tensor, whole: bool) -> list[Tensor]:
        """The pass, up to the last block: the tokens that enter it, and, where they are there, what its attention
        reads. whole: through it as well; the pooled token that leaves it."""
        with eagerly():
            steps = None
            if walkable(self.tower, pixels.device):
                steps = walked(self.tower, pixels) if self.steps is None else self.steps
            reached = self._listened(pixels, whole) if steps is None else self._walked(steps, whole)
        if whole:
            reached = [working(self.pooled.of(reached[0])).clone()]
        if not self.pooled.settle():
            raise WrittenInPlace
        return reached

    def _walked(self, steps: Steps, whole: bool) -> list[Tensor]:
        """Block by block."""
        with by_parts():
            for layer in range(len(self.blocks)):
                tokens, inputs = next(steps)
                assert inputs is not None
                self.pooled.before.append(self.pooled.of(tokens))
                if layer == len(self.blocks) - 1 and not whole:
                    return [tokens, inputs]
                self._look(layer, self.tower.batch_first(inputs))
                self.pooled.middle.append(self.pooled.of(next(steps)[0]))
            return [next(steps)[0]]

    def _listened(self, pixels: Tensor, whole: bool) -> list[Tensor]:
        """By the model's own forward."""
        reached: list[Tensor] = []

        def reach(*tokens: Tensor) -> None:
            reached.extend(tokens)
            enough()

        with listening(self._listeners(reach, whole), self.tower.visual, self.ahead):
            self.tower.visual(pixels)
        if not reached:
            raise SummandError("the forward pass never reached the last block; is the model wrapped or compiled?")
        return reached

    def _listeners(self, reach: Callable[..., None], whole: bool) -> Iterator[Listener]:
        """Before a block: the pooled token. Before its attention: what keys and values read. Both at once where its
        norm takes the one and gives the other. reach: given what enters the last block, or, of a whole pass, leaves
        it."""
        last = None if whole else len(self.blocks) - 1
        short = self.tower.through_norms and not self.tower.always_checked

        def enter(layer: int, tokens: Tensor, kwargs: dict[str, Any]) -> None:
            if kwargs:
                self.positions = {name: kwargs[name] for name in POSITIONS if kwargs.get(name) is not None}
            self.pooled.before.append(self.pooled.of(tokens))
            if layer == last:
                reach(tokens)

        def attend(layer: int, inputs: Tensor) -> None:
            self._look(layer, self.tower.batch_first(inputs))

        def between(tokens: Tensor, _: Any) -> None:
            if len(self.masses) > len(self.pooled.middle):  # else a norm that is also used elsewhere
                self.pooled.middle.append(self.pooled.of(tokens))

        def through_norm(layer: int, tokens: Tensor, inputs: Tensor) -> None:
            self.pooled.before.append(self.pooled.of(tokens))
            if layer == last:
                reach(tokens, inputs)
            attend(layer, inputs)

        for layer, block in enumerate(self.blocks):
            if short:
                yield block.before, "across", partial(through_norm, layer)
            else:
                yield block.module, "before", partial(enter, layer)
            if layer == last:
                return
            if not short:
                yield block.attention.module, "before", lambda inputs, _, layer=layer: attend(layer, inputs)
            yield block.before_mlp, "before", between
        yield self.blocks[-1].module, "after", reach

    def _look(self, layer: int, inputs: Tensor) -> AttentionView | None:
        """What an attention reads, as a view; None where it waits."""
        settled, plainly = not self.tower.always_checked, not (self.positions or self.tower.averaged)
        maps = self.blocks[layer].plain_maps(inputs, settled) if plainly else None
        if maps is not None:
            if inputs.dtype != maps.query.dtype:
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

    def _trace(self, end: Tensor, scaled: bool) -> Trace:
        tower, tokens = self.tower, self.pooled
        values, scale = together_made(self.values), scale_of(tower, end, scaled)
        pooling = scale.new_ones(scale.shape[0], 1) if self.pooling is None else self.pooling
        if tower.even_split:
            return evenly_split(tower, made(values), tokens.start(), tokens.written(end), end, scale, pooling)
        return traced(tower, values, scale, end, self.masses, pooling, lambda: (tokens.start(), tokens.written(end)))
