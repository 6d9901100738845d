"""The guard: no sum leaves the library that does not add up to what the model itself says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..effects.indirect import kept_going
from ..effects.pairs import pairs
from ..errors import SummandError, listed
from ..towers.base import AttentionView, Trace, working
from ..towers.finite import broken_weights
from ..towers.linear import normed
from ..towers.listening import Listener, apart, listening, own_forward
from ..towers.pool import PoolTower
from ..towers.precision import unmixed
from ..towers.residual import ResidualTower
from .findings import findings
from .foreign import holds_foreign_code
from .state import State

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""How far a sum may be off by rounding alone, as a share of the largest number, by what the model computes in."""
_MATMUL = {"highest": 0.0, "high": 5e-3, "medium": 2e-2}
_IN_FP32 = 1e-6
_SUM = "its terms do not sum to its own embedding"
_EPS = 16  # roundings of a stream that are allowed for where two of its states are subtracted


class Guard:
    """Checks identities of a model in one state, each once: at the first use, and again when the state has changed.

    A model that holds code of others (hooks, patched methods, own modules: `foreign`) may do something else at every
    pass, or for some images or batches alone. Of such a model every question is checked, for all of its inputs; of
    any other one `guard(tower, what, inputs)` takes the first of the inputs (an image, or a text's tokens).

    what: "sum", the terms against the model's own embedding; ("neurons", layer), that a layer's neurons write what its
    MLP adds to the stream; ("norms", layer), that the norms in front of all later attentions do what their weights say;
    ("pairs",); and ("indirect", layer), that a stream goes on as in the model. Raises `SummandError` that says by how
    much it is off and what in the model may be the cause.
    """

    def __init__(self, clip: nn.Module, name: str, state: State) -> None:
        self._clip, self._name, self.state = clip, name, state
        self._verified: set[Any] = set()
        self._lock = threading.RLock()
        self._checking: set[int] = set()  # threads; a check makes passes of its own

    @cached_property
    def always(self) -> bool:
        """Whether every question is checked."""
        return holds_foreign_code(self.state.modules())

    def __call__(self, tower: Any, what: Any, inputs: Tensor) -> bool:
        """Whether there was something to check for the first time."""
        if get_ident() in self._checking:
            return False
        mixed = torch.is_autocast_enabled(inputs.device.type)
        key = (
            what,
            torch.get_float32_matmul_precision(),
            torch.get_autocast_dtype(inputs.device.type) if mixed else None,
            inputs.dtype,
        )
        if key in self._verified:
            if self.always and what != "sum":  # sums are confirmed by the passes that make them
                with self._at_work():
                    self._check(tower, what, inputs)
            return False
        with self._lock:
            if key in self._verified:
                return False
            with self._at_work():
                one = inputs[:1]
                self._check(tower, what, inputs if self.always else one)
                if not self.state.still():  # two batches, for what remembers how large they were
                    self.state.settle(lambda: (tower.encode(one), tower.encode(torch.cat([one, one]))))
                    self._check(tower, what, one)  # an edit in between is none of what passes leave behind
            self._verified.add(key)
        return True

    def confirm(self, tower: Any, trace: Trace, inputs: Tensor) -> None:
        """Where every question is checked: that the terms of this very pass sum to the model's own embedding."""
        if self.always and get_ident() not in self._checking:
            with self._at_work():
                with unmixed(inputs.device):
                    total = trace.total(tower.head_maps())
                found = Measured(_SUM, off(total, tower.encode(inputs)), tolerance(inputs, tower))
            if not found.holds:
                raise SummandError(self._said(found))

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._checking.add(get_ident())
        try:
            with apart(), torch.no_grad():
                yield
        finally:
            self._checking.discard(get_ident())

    def _check(self, tower: Any, what: Any, one: Tensor) -> None:
        for found in measure(tower, what, one):
            if not found.holds:
                raise SummandError(self._said(found))

    def _said(self, found: Measured) -> str:
        how = f"off by {found.error:.2g}" if isfinite(found.error) else "NaN or infinite numbers"
        causes = findings(self._clip)
        if spoilt := list(broken_weights(self._clip)):
            causes = [f"weights that hold NaN or infinite numbers: {listed(spoilt, 4)}; load sound ones", *causes]
        if found.normalised:
            causes = ["its encode_image gives unit-norm embeddings; a sum needs them as they were before", *causes]
        why = "; ".join(causes) or "nothing that usually does this; please report the class of the model"
        return (
            f"{self._name} cannot be explained exactly: {found.about}: {how}, relative to the largest number "
            f"({found.allowed:.0e} is rounding). Found in the model: {why}"
        )


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


def verified(look: Callable[[], Any], inputs: Tensor) -> Any:
    """The tower that `look` gives, its sum checked. Looked at again behind a check: a first pass may fill caches,
    which are part of the state."""
    tower = look()
    for _ in range(3):
        if not tower.verify("sum", inputs):
            break
        tower = look()
    return tower


def measure(tower: Any, what: Any, one: Tensor) -> Iterator[Measured]:
    """The identity `what` of a tower, for one image or the tokens of one text, in all its parts."""
    kind, *which = (what,) if isinstance(what, str) else what
    about, numbers = _IDENTITIES[kind](tower, one, *which)
    allowed = tolerance(one, tower)
    for got, want, slack in numbers:
        error = off(got, want)
        normalised = not error <= allowed and got.ndim == 2 and off(F.normalize(got, dim=-1), want) <= allowed
        yield Measured(about, error, allowed + slack, normalised)


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


def _sum(tower: Any, one: Tensor) -> tuple[str, Numbers]:
    def numbers() -> Numbers:
        counts: list[int] = []
        trace = tower.run(one, lambda _, view: counts.append(view.row.shape[-1]))
        with unmixed(one.device):
            total = trace.total(tower.head_maps())
        yield total, tower.encode(one).to(total), 0.0
        yield from _own_blocks(tower, one)
        rows, columns = tower.grid
        if rows and set(counts) != {tower.prefix + rows * columns}:
            raise SummandError(
                f"its attention reads {counts[0]} tokens, but {tower.prefix} before the grid and {rows} × {columns} "
                f"patches are {tower.prefix + rows * columns}, so it has tokens of its own (registers?); where they "
                f"stand before the patches, pass prefix={counts[0] - rows * columns} to summand.wrap"
            )

    return _SUM, numbers()


def _own_blocks(tower: Any, one: Tensor) -> Numbers:
    """Behind a block whose forward is the user's own: the stream between attention and MLP, and what the MLP's module
    gives. Whatever more the block adds would count as its MLP's."""
    own = [(block, {}) for block in getattr(tower, "blocks", ()) if own_forward(block.module)]
    if own:
        with listening([each for block, seen in own for each in _listeners(tower, block, seen)], tower.visual):
            tower.encode(one)
    for block, seen in own:
        with unmixed(one.device):
            added = seen["leaving"] - seen["middle"]
            yield added, block.added(seen["mlp"]), _slack(tower, seen["leaving"], added)


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
    "sum": _sum,
    "neurons": _neurons,
    "norms": _norms,
    "pairs": _pairs,
    "indirect": _indirect,
}
