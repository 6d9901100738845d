"""Passes of compiled models, run as they are written, so that every module is called and every hook is heard."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import SummandError

_INSIDE = (
    "a question cannot be asked inside a function under torch.compile; ask outside of it, or put "
    "torch.compiler.disable around the function that asks"
)
_lock = threading.Lock()
_inside = 0
_stance: Any = None


@contextmanager
def eagerly() -> Iterator[None]:
    """While this is open, `torch.compile` is not used: what was compiled runs module by module, with its hooks.

    The compiler's stance is one for the whole process, so the first of several threads to enter sets it and the last to
    leave restores it; what other threads run meanwhile is computed uncompiled. Nothing is done (and nothing imported)
    where nothing has been compiled in this process.
    """
    global _inside, _stance
    if "torch._dynamo" not in sys.modules or not can_run_eagerly() or torch.compiler.is_compiling():
        yield
        return
    with _lock:
        if _inside == 0:
            try:
                _stance = torch.compiler.set_stance("force_eager")  # acts at once; left through __exit__
            except RuntimeError as error:
                raise SummandError(_INSIDE) from error
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _stance.__exit__(None, None, None)
                _stance = None


def refuse_while_compiling() -> None:
    """Raises `SummandError` inside a function under torch.compile, before its compiler reads all that a question runs,
    which takes it half a minute."""
    if "torch._dynamo" not in sys.modules or not can_run_eagerly():
        return
    if torch.compiler.is_compiling():  # ends the reading; what has been read until here is then run as it is written
        raise SummandError(_INSIDE)
    with eagerly():
        pass


def exporting() -> bool:
    """Whether torch.export traces this pass."""
    asked = getattr(torch.compiler, "is_exporting", None)  # from torch 2.7
    return asked is not None and asked()


def can_run_eagerly() -> bool:
    """Whether this torch can be told to leave its compiler out for a while (2.6 and later)."""
    return hasattr(torch.compiler, "set_stance")


def is_compiled(module: nn.Module) -> bool:
    """Whether this module itself is compiled, by `torch.compile(module)` or in place by `module.compile()`."""
    return type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None
