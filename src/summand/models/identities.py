"""The identities of a tower: what must hold for its terms to be the model's own, and by how much it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..effects.ablated import as_ablated
from ..effects.indirect import kept_going
from ..effects.pairs import pairs
from ..errors import SummandError
from ..towers.base import Trace, working
from ..towers.linear import normed
from ..towers.listening import Listener, listening
from ..towers.pool import PoolTower
from ..towers.precision import unmixed
from ..towers.residual import ResidualTower
from ..towers.view import AttentionView

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""How far a sum may be off by rounding alone, as a share of the largest number, by what the model computes in."""
_MATMUL = {"highest": 0.0, "high": 5e-3, "medium": 2e-2}
_IN_FP32 = 1e-6
_SUM = "its terms do not sum to its own embedding"
_ADDED = "what a block adds to the stream is not what its attention and its MLP write"
_EPS = 16  # roundings of a stream that are allowed for where two of its states are subtracted


@dataclass(frozen=True)
class Measured:
    """How far an identity is off, as a share of the largest number, and how far rounding may take it. normalised:
    whether it would hold for the embedding divided by its norm."""

    about: str
    error: float
    allowed: float
    normalised: bool = False

    @property
    def holds(self) -> bool:
        return self.error <= self.allowed  # NaN does not


def measure(tower: Any, what: Any, one: Tensor) -> Iterator[Measured]:
    """The identity `what` of a tower, for one image or the tokens of one text, in all its parts."""
    kind, *which = (what,) if isinstance(what, str) else what
    if kind == "sum":
        yield from _sum(tower, one)
        return
    about, numbers = _IDENTITIES[kind](tower, one, *which)
    allowed = tolerance(one, tower)
    for got, want, slack in numbers:
        yield Measured(about, off(got, want), allowed + slack)


def tolerance(inputs: Tensor, tower: Any) -> float:
    """What rounding may do, in the precision that the model computes in now."""
    dtype = tower.dtype
    allowed = TOLERANCE.get(dtype, 1e-4)
    if hasattr(tower.visual, "config"):  # transformers' softmax may be fp32 whatever the model is
        allowed = max(allowed, _IN_FP32)
    if dtype == torch.float32:
        allowed = max(allowed, _MATMUL.get(torch.get_float32_matmul_precision(), 0.0))
        if inputs.is_cuda and torch.backends.cuda.matmul.allow_tf32:
            allowed = max(allowed, _MATMUL["high"])
    if torch.is_autocast_enabled(inputs.device.type):
        allowed = max(allowed, TOLERANCE.get(torch.get_autocast_dtype(inputs.device.type), allowed))
    return allowed


def off(got: Tensor, want: Tensor) -> float:
    """max |got − want| / max |want|."""
    want = want.to(got)
    return float((got - want).abs().max() / want.abs().max().clamp(min=torch.finfo(got.dtype).tiny))


Numbers = Iterator[tuple[Tensor, Tensor, float]]
"""What was computed, what it must be, and what more than rounding is allowed."""


def _sum(tower: Any, one: Tensor) -> Iterator[Measured]:
    counts: list[int] = []
    trace = tower.run(one, lambda _, view: counts.append(view.row.shape[-1]))
    yield from confirmed(tower, trace, one)
    rows, columns = tower.grid
    if rows and set(counts) != {tower.prefix + rows * columns}:
        raise SummandError(
            f"its attention reads {counts[0]} tokens, but {tower.prefix} before the grid and {rows} × {columns} "
            f"patches are {tower.prefix + rows * columns}, so it has tokens of its own (registers?); where they "
            f"stand before the patches, pass prefix={counts[0] - rows * columns} to summand.wrap"
        )


def confirmed(tower: Any, trace: Trace, inputs: Tensor) -> Iterator[Measured]:
    """The sum of the terms of a pass against the model's own embedding; and, in the pass that makes this embedding,
    that nothing but its attention and its MLP writes to the stream in a block, up to the next block: whatever more is
    added or taken away there would count as the MLP's."""
    with unmixed(inputs.device):
        total = trace.total(tower.head_maps())
    blocks = (
        [] if as_ablated(tower) is not None else getattr(tower, "blocks", [])
    )  # of an ablated one the tower inside is confirmed
    added: list[tuple[float, float]] = []
    allowed = tolerance(inputs, tower)
    with listening(_added(tower, blocks, added), tower.visual) if blocks else nullcontext():
        encoded = tower.encode(inputs).to(total)
    error = off(total, encoded)
    normalised = not error <= allowed and off(F.normalize(total, dim=-1), encoded) <= allowed
    yield Measured(_SUM, error, allowed, normalised)
    yield from (Measured(_ADDED, error, allowed + slack) for error, slack in added)


def _added(tower: Any, blocks: list[Any], found: list[tuple[float, float]]) -> Iterator[Listener]:
    """Listeners that find, behind every block and in front of the next one, how far what was added between attention
    and there is off from what the MLP's module gives, and what rounding may do."""
    for layer, block in enumerate(blocks):
        seen: dict[str, Tensor] = {}

        def compare(tokens: Tensor, _: Any = None, block: Any = block, seen: dict[str, Tensor] = seen) -> None:
            if "mlp" not in seen or "middle" not in seen:  # a forward that never comes to its MLP
                found.append((inf, 0.0))
                return
            leaving = working(tower.batch_first(tokens))
            added = leaving - seen["middle"]
            found.append((off(added, block.added(seen["mlp"])), _slack(tower, leaving, added)))

        *inside, _ = _listeners(tower, block, seen)
        yield from inside
        yield block.module, "after", compare
        if layer + 1 < len(blocks):
            yield blocks[layer + 1].module, "before", compare


def _listeners(tower: Any, block: Any, seen: dict[str, Tensor]) -> list[Listener]:
    def keep(name: str) -> Callable[..., None]:
        def listener(tokens: Tensor, _: Any = None) -> None:
            seen[name] = working(tower.batch_first(tokens)).clone()  # a block may add to its stream in place

        return listener

    return [
        (block.module.mlp, "after", keep("mlp")),
        (block.before_mlp, "before", keep("middle")),
        (block.module, "after", keep("leaving")),
    ]


def _slack(tower: Any, stream: Tensor, added: Tensor) -> float:
    """What rounding of the stream may do to the difference of two of its states."""
    return _EPS * torch.finfo(tower.dtype).eps * float(stream.abs().max() / added.abs().max())


def _neurons(tower: ResidualTower, one: Tensor, layer: int) -> tuple[str, Numbers]:
    def numbers() -> Numbers:
        block = tower.blocks[layer]
        seen: dict[str, Tensor] = {}

        def fire(hidden: Tensor, _: Any) -> None:
            seen["hidden"] = working(tower.batch_first(hidden))

        with listening([(block.neuron_map(), "before", fire), *_listeners(tower, block, seen)], tower.visual):
            tower.encode(one)
        with unmixed(one.device):
            written = seen["hidden"] @ block.neuron_writes() + block.neuron_bias()
            yield written, block.scaled_mlp(seen["mlp"]), 0.0
            added = seen["leaving"] - seen["middle"]
            yield written, added, _slack(tower, seen["leaving"], added)

    return f"the neurons of layer {layer} do not write what its MLP adds to the stream", numbers()


def _norms(tower: ResidualTower, one: Tensor, layer: int) -> tuple[str, Numbers]:
    def numbers() -> Numbers:
        streams: dict[int, Tensor] = {}
        inputs: dict[int, Tensor] = {}

        def enter(at: int, stream: Tensor) -> None:
            streams[at] = working(tower.batch_first(stream)).clone()

        def look(at: int, view: AttentionView) -> None:
            inputs[at] = view.inputs

        later = range(layer + 1, tower.layers)
        listeners = [(tower.blocks[at].module, "before", lambda stream, _, at=at: enter(at, stream)) for at in later]
        with listening(listeners, tower.visual):
            tower.run(one, look)
        with unmixed(one.device):
            for at in later:
                yield inputs[at], normed(tower.blocks[at].before, streams[at]), 0.0

    return f"an attention behind layer {layer} reads something else than the norm of the stream", numbers()


def _pairs(tower: PoolTower, one: Tensor) -> tuple[str, Numbers]:
    def numbers() -> Numbers:
        effects = pairs(tower, one)
        assert effects.rest is not None
        with unmixed(one.device):
            yield effects.basis.total(effects.coefficients) + effects.rest, tower.encode(one), 0.0

    return "its neuron–head pairs do not sum to its own embedding", numbers()


def _indirect(tower: ResidualTower, one: Tensor, layer: int) -> tuple[str, Numbers]:
    def numbers() -> Numbers:
        went, output = kept_going(tower, one, layer)
        yield went, output, 0.0

    return f"a stream that goes on from behind layer {layer} does not end as in the model", numbers()


_IDENTITIES: dict[str, Callable[..., tuple[str, Numbers]]] = {
    "neurons": _neurons,
    "norms": _norms,
    "pairs": _pairs,
    "indirect": _indirect,
}
