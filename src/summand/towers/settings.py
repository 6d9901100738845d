"""What a model computes with besides its weights: activations, eps, numbers of heads, masks that are never saved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Of every module whatever it computes, or without an effect on what it computes in evaluation mode.
_NO_SETTINGS = frozenset(
    (
        *(*vars(nn.Module()), "grad_checkpointing", "gradient_checkpointing", "name_or_path"),
        *("all_tied_weights_keys", "kernel_config", "loss_type", "warnings_issued"),  # transformers' own bookkeeping
    )
)
_BOOKKEEPING = (
    *("_is_", "_hf_", "_forward_", "_backward_", "_fsdp", "_ddp", "_compiled"),
    *("_keep_in_", "_keys_to_", "_no_split_", "_skip_keys_", "_ep_", "_pp_", "_tp_", "_supports_"),
)
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.Size)
_DEPTH = 4


def settings_of(model: nn.Module, ours: Callable[[str], bool] = lambda name: True) -> str:
    """One line a module: its name, class, `extra_repr`, and its own simple attributes, functions by name; one line a
    buffer that is not saved. The same for the same model in any process; training mode and devices are left out.

    ours: which modules and buffers count, by name.
    """
    lines = [_line(name, module) for name, module in model.named_modules() if ours(name)]
    saved = model.state_dict(keep_vars=True).keys()
    buffers = sorted((name, value) for name, value in model.named_buffers() if name not in saved and ours(name))
    return "\n".join([*lines, *(f"{name} {_of_tensor(value)}" for name, value in buffers)])


def settings_hash(model: nn.Module, ours: Callable[[str], bool] = lambda name: True) -> str:
    """SHA-256 of `settings_of`."""
    return hashlib.sha256(settings_of(model, ours).encode()).hexdigest()


def _line(name: str, module: nn.Module) -> str:
    kind = type(module)
    own = {key: value for key, value in vars(module).items() if _counts(key)}
    said = [f"{key}={text}" for key in sorted(own) if (text := described(own[key])) is not None]
    return f"{name}: {kind.__module__}.{kind.__qualname__}({module.extra_repr()}) {' '.join(said)}"


def _counts(key: str) -> bool:
    return key not in _NO_SETTINGS and not key.startswith(_BOOKKEEPING)


def described(value: Any, depth: int = _DEPTH) -> str | None:
    """A setting in words that are the same in every process; None for what is no setting, such as another module.

    >>> described((0.5, torch.nn.functional.gelu))
    '(0.5, torch._C._nn.gelu)'
    """
    if isinstance(value, _SIMPLE):
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, nn.Module) or not depth:
        return None
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = [described(item, depth - 1) for item in value]
        known = [part for part in parts if part is not None]
        return f"({', '.join(sorted(known) if isinstance(value, (set, frozenset)) else known)})"
    if isinstance(value, dict):
        items = ((str(key), described(item, depth - 1)) for key, item in value.items())
        return f"{{{', '.join(f'{key}: {text}' for key, text in sorted(items, key=lambda item: item[0]) if text)}}}"
    return _of_function(value, depth)


def _of_function(value: Any, depth: int) -> str | None:
    if isinstance(value, partial):
        parts = (value.func, value.args, value.keywords)
        return f"partial({', '.join(str(described(part, depth - 1)) for part in parts)})"
    if isinstance(value, MethodType):
        return f"method {value.__func__.__qualname__}"
    if isinstance(value, FunctionType):
        plain = "<" not in value.__qualname__  # a lambda's name says nothing, so its code is read
        return f"{value.__module__}.{value.__qualname__}" + ("" if plain else f" {_of_code(value, depth)}")
    if isinstance(value, (type, BuiltinFunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    if callable(value):  # an activation that is an object
        own = {key: item for key, item in vars(value).items() if _counts(key)} if hasattr(value, "__dict__") else {}
        return f"{type(value).__module__}.{type(value).__qualname__}{described(own, depth - 1)}"
    return None


def _of_code(function: FunctionType, depth: int) -> str:
    constants = [item for item in function.__code__.co_consts if not isinstance(item, CodeType)]
    held = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    seen = [function.__code__.co_code, function.__code__.co_names, constants, held, list(function.__defaults__ or ())]
    return hashlib.sha256(str(described(seen, depth)).encode()).hexdigest()[:16]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _of_tensor(value: Tensor) -> str:
    flat = value.detach().cpu().contiguous().reshape(-1)
    digest = hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()[:16] if not value.is_meta else "meta"
    return f"tensor({value.dtype}, {list(value.shape)}, {digest})"
