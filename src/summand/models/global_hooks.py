"""Forward hooks that torch calls for every module of the process."""

from __future__ import annotations

from typing import Any

from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from ..towers.listening import entries


def _held_by(register: Any) -> dict[int, Any]:
    """The dict that such hooks stand in: torch lists them nowhere, but a handle says where its hook is."""
    handle = register(lambda *_: None)
    found = handle.hooks_dict_ref()
    handle.remove()
    return found


_BEFORE = _held_by(register_module_forward_pre_hook)
_AFTER = _held_by(register_module_forward_hook)


def global_hooks() -> list[Any]:
    """Those that are set now."""
    if not _BEFORE and not _AFTER:
        return []
    return [hook for held in (_BEFORE, _AFTER) for _, hook in entries(held)]
