"""Indirect effects: how the output changes when a neuron is held at its mean (the papers' second baseline)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..progress import Progress
from ..towers import Tower
from ..towers.base import working
from ..towers.listening import Listener, listening
from ..towers.residual import ResidualTower
from ..whole_numbers import as_whole_number, whole_number
from .activations import check_layer, readable
from .effects import Effects


@torch.no_grad()
def indirect(
    tower: Tower,
    pixels: Float[Tensor, "image channel height width"],
    layer: int,
    neurons: Sequence[int],
    means: Float[Tensor, "token neuron"],
    batch_size: int = 64,
    progress: bool | None = False,
) -> Effects:
    r"""M(x) − M(x | p_i^{l,n} ← m_i^{l,n} at every token i): a real forward pass for every neuron (paper A, Table 1).

    The model's own blocks behind the layer run anew on the stream without the neuron; what comes before is common to
    all neurons and runs once. Nothing of the model is replaced, and every hook comes off.

    neurons: which of the layer's. means: m, of all neurons of the layer, from `mean_activations`. batch_size: streams
    (image and neuron) that run at the same time. Units (neuron,), in the order given; the paths are the dimensions of
    the output, for a measured effect has no fewer: statistics of all neurons at once would be large.

    Raises `SummandError` for a layer or neuron that does not exist, for means that do not fit, and for a tower that
    is no plain pre-norm transformer.
    """
    tower = readable(tower, "indirect effects are")
    layer = check_layer(tower, layer)
    chosen = _checked(tower, layer, neurons, batch_size)
    for identity in (("neurons", layer), ("indirect", layer)):
        tower.verify(identity, pixels)
    seen = _Seen(tower, pixels, layer)
    tokens, every = seen.hidden.shape[1:]
    if not isinstance(means, Tensor):
        raise SummandError(f"means must be a tensor [token, neuron], got {type(means).__name__}")
    if tuple(means.shape) != (tokens, every):
        raise SummandError(f"means must be [token, neuron] = [{tokens}, {every}], got {list(means.shape)}")
    if not torch.isfinite(means).all():
        raise SummandError("the means hold NaN or infinite numbers")
    writes = tower.blocks[layer].neuron_writes()
    streams = [(image, place) for image in range(len(pixels)) for place in range(len(chosen))]
    found = []
    with Progress("ablated", len(streams), "passes", progress) as bar:
        for start in range(0, len(streams), batch_size):
            image, place = torch.tensor(streams[start : start + batch_size], device=pixels.device).unbind(dim=1)
            neuron = torch.tensor(chosen, device=pixels.device)[place]
            excess = seen.hidden[image, :, neuron] - means.to(seen.hidden).T[neuron]  # [stream, token]
            ablated = seen.leaving[image] - (excess[..., None] * writes[neuron][:, None]).to(seen.leaving)
            found.append(seen.output[image] - seen.go_on(ablated))
            bar.update(len(image))
    measured = torch.cat(found).unflatten(0, (len(pixels), len(chosen)))
    axes = torch.eye(measured.shape[-1], dtype=measured.dtype, device=measured.device)
    return Effects(measured, axes.expand(len(chosen), -1, -1), units=("neuron",), paths=("embed",))


def kept_going(tower: ResidualTower, pixels: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """What the stream behind a layer ends in as `indirect` lets it go on, and what the model itself gives."""
    seen = _Seen(tower, pixels, layer)
    return seen.go_on(seen.leaving), seen.output


class _Seen:
    """A pass as the model makes it, and what is needed to go on from behind a layer.

    hidden: the layer's neurons, [image, token, neuron]; leaving: the stream behind it, [image, token, width]; output.
    """

    def __init__(self, tower: ResidualTower, pixels: Tensor, layer: int) -> None:
        self._tower, self._later = tower, tower.blocks[layer + 1 :]
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        kept: dict[str, Tensor] = {}

        def keep_hidden(hidden: Tensor, _: Any) -> None:
            kept["hidden"] = working(tower.batch_first(hidden))

        def keep_leaving(output: Tensor) -> None:
            kept["leaving"] = tower.batch_first(output).clone()  # a later block may add to it in place

        def keep_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._calls.append((args[1:], kwargs if args else dict(list(kwargs.items())[1:])))

        def listeners() -> Iterator[Listener]:
            yield tower.blocks[layer].neuron_map(), "before", keep_hidden
            yield tower.blocks[layer].module, "after", keep_leaving
            for block in self._later:
                yield block.module, "call", keep_call

        with listening(listeners(), tower.visual):
            self.output: Tensor = working(tower.encode(pixels))
        self.hidden, self.leaving = kept["hidden"], kept["leaving"]

    def go_on(self, tokens: Float[Tensor, "stream token width"]) -> Float[Tensor, "stream embed"]:
        """The output of streams behind the layer, by the model's own later blocks."""
        stream = self._tower.batch_first(tokens)  # turns back as well as there
        for block, (args, kwargs) in zip(self._later, self._calls, strict=True):
            written = block.module(stream, *args, **kwargs)
            stream = written[0] if isinstance(written, tuple) else written
        return self._tower.readout(self._tower.batch_first(stream))


def _checked(tower: ResidualTower, layer: int, neurons: Sequence[int], batch_size: int) -> list[int]:
    count = tower.blocks[layer].neuron_output().shape[1]
    if not isinstance(neurons, Iterable):
        raise SummandError(f"expected a list of neurons, got {neurons!r}")
    chosen = [as_whole_number(n) for n in neurons]
    wrong = [n for n in chosen if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < count]
    if not chosen:
        raise SummandError(f"expected at least one of the neurons 0 to {count - 1}, got none")
    if wrong:
        raise SummandError(f"layer {layer} has neurons 0 to {count - 1}; got {wrong[0]!r}")
    if (whole_number(batch_size) or 0) < 1:
        raise SummandError(f"batch_size must be at least 1, got {batch_size}")
    return chosen
