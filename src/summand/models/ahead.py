"""A pass that is begun before its model is looked at, so that a GPU works while the host looks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..effects.ablated import as_ablated
from ..towers.eager import refuse_while_compiling
from .made import Made
from .state import State, refuse_while_tracing


def begun(made: Made[Any], x: Tensor, check: Callable[[Tensor, State, Any], object]) -> tuple[Any, Any] | None:
    """The tower of the model as it was last seen, and a pass over x that it has begun (`ResidualTower.begin`), where
    the model still is what it was, which is looked at meanwhile. None where nothing is gained by it, and of a model
    that has changed. check: raises for pixels that the tower cannot read."""
    refuse_while_compiling()
    refuse_while_tracing()
    last = made.last
    if last is None or not isinstance(x, Tensor) or not works_by_itself(x.device):
        return None
    state, tower = last
    begin = None if as_ablated(tower) else getattr(tower, "begin", None)  # an ablated one asks for more than a pass
    if begin is None or not state.modes_still():
        return None
    try:
        looking = aside(x.device)
        found = begin(x)
        if found is None:
            return None
        with looking:
            check(x, state, tower)
            return (tower, found) if made.holds(state) else None
    except Exception:  # of a model that is another one by now, or of other pixels: both are said by asking as ever
        return None


def works_by_itself(device: torch.device) -> bool:
    """Whether a device goes on with what it was given while the host does something else, and can be given something
    else in between."""
    return device.type == "cuda"


def aside(device: torch.device) -> AbstractContextManager[Any]:
    """For work that waits for all that its device was given until now, and for nothing that it is given from now on."""
    if device.type != "cuda":
        return nullcontext()
    stream = _stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    return torch.cuda.stream(stream)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device, priority=-1)  # small kernels, which are let in between large ones
