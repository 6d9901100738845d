"""The sinks of a vision transformer: patch tokens of outlying norm, and the MLP neurons that write them ("test-time
registers", Jiang et al. 2025, arXiv 2506.08010; the tokens: Darcet et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...effects.activations import readable
from ...errors import SummandError
from ...models import Model
from ...towers.base import working
from ...towers.listening import Listener, _Enough, listening
from ...towers.precision import doubled


class StreamSink:
    r"""D_n = (E|p_n| over outlying patches − E|p_n| over the others) ‖w_n‖, p_n the activation and w_n what n writes.

    A patch is outlying where the norm of its token, as it enters the last block, exceeds `ratio` times the median of
    its image. Neurons of all layers before the last are scored.
    """

    rounds = 2
    measure = "largest norm of a patch token, in the median of its image"

    def __init__(self, model: Model, ratio: float) -> None:
        tower = readable(model.tower, "register neurons are")
        if tower.layers < 2:
            raise SummandError(f"{model.name} has one block: no token enters a last one with anything written to it")
        self._tower, self._ratio = tower, ratio
        self.layers = range(tower.layers - 1)
        self._images = self._with_outliers = self._others = self._outliers = 0
        self._largest = 0.0
        self._sums: dict[int, Tensor] = {}

    @torch.no_grad()
    def learn(self, turn: int, pixels: Tensor) -> None:
        hidden: dict[int, Tensor] = {}
        norms = self._norms(pixels, hidden if turn else None)
        outlying = self._outlying(norms)
        if turn == 0:
            self._images += len(norms)
            self._with_outliers += int(outlying.any(dim=1).sum())
            self._outliers, self._others = self._outliers + int(outlying.sum()), self._others + int((~outlying).sum())
            self._largest += float((norms.amax(dim=1) / norms.median(dim=1).values).sum())
            return
        for layer, activations in hidden.items():
            size = doubled(activations.abs())
            there = outlying.to(size.device)
            sums = torch.stack([size[there].sum(dim=0), size[~there].sum(dim=0)])
            self._sums[layer] = sums + self._sums[layer] if layer in self._sums else sums

    def end(self, turn: int) -> None:
        pass

    @property
    def patch(self) -> None:
        """Which patches are outlying differs from image to image."""
        return None

    @property
    def strength(self) -> float:
        """The largest norm over the median, mean over the images."""
        return self._largest / self._images

    @property
    def share(self) -> float:
        """Images with an outlying patch."""
        return self._with_outliers / self._images

    @torch.no_grad()
    def scores(self) -> dict[int, Float[Tensor, " neuron"]]:
        """D_n of the neurons of every layer; zero where no patch is outlying."""
        found = {}
        for layer, (inside, outside) in self._sums.items():
            writes = doubled(self._tower.blocks[layer].neuron_writes()).norm(dim=1)
            found[layer] = (
                (inside / max(self._outliers, 1) - outside / max(self._others, 1)) * writes * bool(self._outliers)
            )
        return found

    def _outlying(self, norms: Float[Tensor, "image patch"]) -> Bool[Tensor, "image patch"]:
        return norms > self._ratio * norms.median(dim=1, keepdim=True).values

    @torch.no_grad()
    def _norms(self, pixels: Tensor, hidden: dict[int, Tensor] | None = None) -> Float[Tensor, "image patch"]:
        """‖token‖ of the patches that enter the last block; hidden: takes the activations at them on the way."""
        seen: list[Tensor] = []

        def fire(layer: int, activations: Tensor) -> None:
            assert hidden is not None
            hidden[layer] = self._patches(activations)

        def enter(tokens: Tensor, _: Any) -> None:
            seen.append(self._patches(tokens).norm(dim=2))
            raise _Enough

        def listeners() -> Iterator[Listener]:
            for layer in self.layers if hidden is not None else ():
                neurons = self._tower.blocks[layer].neuron_map()
                yield neurons, "before", lambda found, _, layer=layer: fire(layer, found)
            yield self._tower.blocks[-1].module, "before", enter

        with listening(listeners(), self._tower.visual):
            self._tower.encode(pixels)
        return seen[0]

    @property
    def _grid(self) -> slice:
        tower = self._tower
        return slice(tower.prefix, tower.prefix + tower.grid[0] * tower.grid[1])

    def _patches(self, tokens: Tensor) -> Float[Tensor, "image patch channel"]:
        return working(self._tower.batch_first(tokens))[:, self._grid]

    @torch.no_grad()
    def neutralised(
        self, pixels: Float[Tensor, "image 3 height width"], neurons: Sequence[tuple[int, int]], register: bool
    ) -> tuple[Float[Tensor, "image embed"], Float[Tensor, " image"]]:
        """The output with these neurons at zero on every patch, by a real pass, and `strength` of every image.
        register: one more token, empty at first, on which each of them is as active as it was on any patch."""
        tower = self._tower
        if register and tower.averaged:
            raise SummandError(f"a register would be averaged with the patches of this {tower.kind}; register=False")
        norms: list[Tensor] = []

        def hold(columns: list[int], hidden: Tensor) -> Tensor:
            whole = tower.batch_first(hidden).clone()
            some = whole[:, self._grid][..., columns]
            whole[:, self._grid, columns] = 0
            if register:
                whole[:, -1, columns] = some.gather(1, some.abs().argmax(dim=1, keepdim=True))[:, 0]
            return tower.batch_first(whole)

        def lengthen(tokens: Tensor) -> Tensor:
            tokens = tower.batch_first(tokens)
            return tower.batch_first(torch.cat([tokens, torch.zeros_like(tokens[:, :1])], dim=1))

        def listeners() -> Iterator[Listener]:
            if register:
                yield tower.blocks[0].module, "replace", lengthen
            for layer in {layer for layer, _ in neurons}:
                columns = [neuron for at, neuron in neurons if at == layer]
                yield tower.blocks[layer].neuron_map(), "replace", partial(hold, columns)
            last = tower.blocks[-1].module
            yield last, "before", lambda tokens, _: norms.append(self._patches(tokens).norm(dim=2))

        try:
            with listening(listeners(), tower.visual):
                output = tower.encode(pixels)
        except RuntimeError as error:
            if not register:
                raise
            raise SummandError(
                f"this {tower.kind} takes no token beside those it was made for ({error}); use register=False"
            ) from error
        return working(output), norms[0].amax(dim=1) / norms[0].median(dim=1).values
