"""What in a model could make a sum wrong, in words, for the error of a sum that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from ..errors import listed
from ..towers.eager import is_compiled
from ..towers.effective import class_of
from ..towers.listening import PassHook
from ..towers.probe import is_quantised
from .foreign import is_known, patched
from .global_hooks import global_hooks

_MOST = 5
_ENTRIES = ("encode_image", "get_image_features", "encode_text", "get_text_features")


def findings(clip: nn.Module, ours: type | tuple[type, ...] = ()) -> list[str]:
    """What this model does beside what its class says, the likeliest cause of a wrong sum first; at most five.

    ours: classes of the hooks that are not the user's.
    """
    modules = [(name, module) for name, module in clip.named_modules() if name != ""]
    modules.insert(0, ("the model itself", clip))
    kinds: tuple[Callable[..., Iterator[str]], ...] = (
        lambda: _replaced_entries(clip),
        lambda: _everywhere(),
        lambda: _patched(modules),
        lambda: _hooks(modules, ours),
        lambda: _own_forward(modules),
        lambda: _foreign(modules),
        lambda: _dropout(modules),
        lambda: _quantised(modules),
        lambda: _adapters(modules),
        lambda: _parametrized(modules),
        lambda: _compiled(modules),
    )
    return [said for kind in kinds for said in kind()][:_MOST]


Modules = list[tuple[str, Any]]


def _said(what: str, names: Iterable[str], then: str = "") -> Iterator[str]:
    """One sentence for all modules of a kind; what is inside one of them is not named again."""
    names = list(names)
    names = [name for name in names if not any(name.startswith(f"{above}.") for above in names)]
    if names:
        yield f"{what} {listed(names, 3)}{then}"


def _replaced_entries(clip: nn.Module) -> Iterator[str]:
    changed = [name for name in _ENTRIES if name in vars(clip)]
    yield from _said("a function set on the object in place of its class's", changed)


def _everywhere() -> Iterator[str]:
    names = [getattr(hook, "__qualname__", type(hook).__name__) for hook in global_hooks()]
    yield from _said("forward hooks of yours for all modules of the process:", names, "; remove them")


def _patched(modules: Modules) -> Iterator[str]:
    kinds = {class_of(module) for _, module in modules}
    yield from _said("code of yours in place of a library's:", patched(kinds), "; put the library's own back")


def _hooks(modules: Modules, ours: type | tuple[type, ...]) -> Iterator[str]:
    found, kinds = [], ours if isinstance(ours, tuple) else (ours,)
    for name, module in modules:
        for hook in (*list(module._forward_pre_hooks.values()), *list(module._forward_hooks.values())):
            if not isinstance(hook, (PassHook, *kinds)) and not _of_torch(hook):
                found.append(f"{name} ({getattr(hook, '__qualname__', type(hook).__name__)})")
    yield from _said("forward hooks of yours on", found, ", which may change what passes; remove them")


def _of_torch(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.")


def _own_forward(modules: Modules) -> Iterator[str]:
    replaced = [(name, module) for name, module in modules if "forward" in vars(module) and not is_compiled(module)]
    yield from _said("a forward set on the object at", (name for name, m in replaced if not hasattr(m, "_hf_hook")))
    theirs = (name for name, m in replaced if hasattr(m, "_hf_hook"))
    yield from _said("a forward set by accelerate at", theirs, "; accelerate.hooks.remove_hook_from_module undoes it")


def _foreign(modules: Modules) -> Iterator[str]:
    found = []
    for name, module in modules:
        kind = class_of(module)
        if not is_known(kind.__module__):
            known = next(base for base in kind.__mro__ if is_known(base.__module__))
            more = "" if known is nn.Module else f", which may do more than {known.__name__}"
            found.append(f"{name} ({kind.__name__} of {kind.__module__}{more})")
    yield from _said("a class of none of the libraries that are read:", found)


def _dropout(modules: Modules) -> Iterator[str]:
    found = [name for name, module in modules if module.training and _drop_rate(module) > 0]
    yield from _said("dropout in training mode at", found, "; call .eval() on the model")
    norms = [name for name, module in modules if module.training and "BatchNorm" in type(module).__name__]
    yield from _said("batch statistics in training mode at", norms, "; call .eval() on the model")


def _drop_rate(module: Any) -> float:
    """The rate of a dropout layer, or of an attention that drops by a number of its own."""
    kind = type(module).__name__
    names = ("p", "prob", "drop_prob") if "Drop" in kind else ("dropout", "attention_dropout", "attn_drop")
    rates = [getattr(module, name, None) for name in names]
    return max((rate for rate in rates if isinstance(rate, (int, float))), default=0.0)


def _quantised(modules: Modules) -> Iterator[str]:
    found = (name for name, module in modules if is_quantised(module))
    yield from _said("quantised layers at", found, "; wrap the model from before quantisation")


def _adapters(modules: Modules) -> Iterator[str]:
    found = [
        f"{name} ({type(module).__name__})"
        for name, module in modules
        if type(module).__module__.startswith("peft.") and hasattr(module, "active_adapters")
    ]
    yield from _said("adapters of peft on", found, "; call merge_and_unload() on the peft model")


def _parametrized(modules: Modules) -> Iterator[str]:
    found = []
    for name, module in modules:
        made = any(
            type(hook).__module__.startswith("torch.nn.utils.") for hook in list(module._forward_pre_hooks.values())
        )
        if made or parametrize.is_parametrized(module):
            found.append(name)
    yield from _said("parametrizations or masks on", found)


def _compiled(modules: Modules) -> Iterator[str]:
    yield from _said("compiled modules:", (name for name, module in modules if is_compiled(module)))
