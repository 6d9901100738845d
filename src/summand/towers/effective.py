"""Linear maps as they act: plain layers by their parameters, anything else by what it does to vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod

from ..errors import SummandError
from .probe import made_once, named, probed, remedy

T = TypeVar("T")


class LinearMap:
    r"""x ↦ W x + b, what a module does to a vector. weight: W [out, in]; bias: b [out], or None.

    A plain `nn.Linear` is read live, by its parameters. A weight that is made anew for every pass (parametrizations,
    weight normalisation, pruning masks) is made once. Any other module (adapters, quantised weights, homemade layers)
    is read once by what it does: b = f(0) and W = f(I) − f(0), checked to be linear.

    where: names the module in errors. called=False: only the module's weight and bias count and its `forward` is never
    called, as torch's attention treats its output projection.
    """

    def __init__(self, module: Any, where: str, called: bool = True) -> None:
        self.layer: Any = module
        self.module: Any = seen_through(module)
        self._plain = not called or is_linear(self.module)
        if self._plain:
            if not isinstance(getattr(self.module, "weight", None), Tensor):
                raise SummandError(f"{where} ({named(self.module)}) has no weight to read{remedy(self.module)}")
            self._weight, self._bias = reader(self.module, "weight", called), reader(self.module, "bias", called)
        else:
            found = once(lambda: probed(self.module, where))
            self._weight, self._bias = (lambda: found()[0]), (lambda: found()[1])

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        return self._weight()

    @property
    def bias(self) -> Float[Tensor, " out"] | None:
        return self._bias()

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in), without reading the map where the module says it itself."""
        out, width = getattr(self.module, "out_features", None), getattr(self.module, "in_features", None)
        if isinstance(out, int) and isinstance(width, int) and not _as_it_lies(self.module, "weight"):
            return out, width
        weight = self.weight
        return weight.shape[0], weight.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """What the map is kept in."""
        return self.weight.dtype


def linear_map(module: Any, where: str = "a module") -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"] | None]:
    """(weight, bias) of a module that stands for a linear map. Raises `SummandError` where it is none."""
    found = LinearMap(module, where)
    return found.weight, found.bias


def seen_through(module: Any) -> Any:
    """The module that is computed, inside wrappers that only pass on: `torch.compile`, and what peft keeps beside a
    module that was trained as a whole."""
    while True:
        if type(module).__name__ == "OptimizedModule":
            module = module._orig_mod
        elif _has(module, "original_module") and _has(module, "modules_to_save"):
            module = _of_adapter(module, module.modules_to_save, module.original_module)
        elif _has(module, "base_layer") and _has(module, "ln_tuning_layers"):
            module = _of_adapter(module, module.ln_tuning_layers, module.base_layer)
        else:
            return module


def _has(module: Any, child: str) -> bool:
    return isinstance(module, nn.Module) and child in vars(module).get("_modules", ())


def _of_adapter(wrapper: Any, copies: Any, base: Any) -> Any:
    """The copy that the active adapter trained; the module itself where no adapter is active."""
    if wrapper.disable_adapters or getattr(wrapper, "merged", False):
        return base
    active = wrapper.active_adapters if hasattr(wrapper, "active_adapters") else wrapper.active_adapter
    return next((copies[name] for name in ([active] if isinstance(active, str) else active) if name in copies), base)


def class_of(module: Any) -> type:
    """A module's class as it was written; parametrizations give their module a class of its own."""
    kind = type(module)
    return kind.__mro__[1] if isinstance(module, nn.Module) and parametrize.is_parametrized(module) else kind


def is_linear(module: Any) -> bool:
    """Whether `weight` and `bias` say everything about a module: an `nn.Linear` that computes as its class does."""
    if getattr(type(module), "forward", None) is not nn.Linear.forward or "forward" in vars(module):
        return False
    if parametrize.is_parametrized(module, "weight"):
        return True
    weight: Any = getattr(module, "weight", None)
    return type(weight) in (Tensor, nn.Parameter) and weight.is_floating_point()


def reader(module: Any, name: str, called: bool = True) -> Callable[[], Any]:
    """What gives a tensor of a module: live as it lies there, or made once where the module makes it anew for every
    pass. called: whether the module's hooks run before it is used."""
    made = _made_by_hooks(module, name) if called and isinstance(module, nn.Module) else None
    if made is not None:
        return once(made)
    if isinstance(module, nn.Module) and parametrize.is_parametrized(module, name):
        return once(partial(getattr, module, name))
    lies: Any = getattr(module, name, None)
    if isinstance(lies, Tensor) and type(lies) not in (Tensor, nn.Parameter) and hasattr(lies, "dequantize"):
        return once(lambda: getattr(module, name).dequantize())
    return partial(getattr, module, name, None)


def _made_by_hooks(module: Any, name: str) -> Callable[[], Tensor] | None:
    """How torch's own hooks make this tensor of a module before every pass, without leaving it there."""
    hooks: list[Any] = list(module._forward_pre_hooks.values())
    for hook in hooks:
        kind = type(hook)
        if not kind.__module__.startswith("torch.nn.utils."):
            continue
        if kind.__name__ == "WeightNorm" and hook.name == name:
            return partial(hook.compute_weight, module)
        if kind.__name__ == "SpectralNorm" and hook.name == name:
            return partial(hook.compute_weight, module, do_power_iteration=False)
        if isinstance(hook, BasePruningMethod) and hasattr(module, f"{name}_mask"):
            return lambda: getattr(module, f"{name}_orig") * getattr(module, f"{name}_mask")
    return None


def _as_it_lies(module: Any, name: str) -> bool:
    return isinstance(module, nn.Module) and vars(module).get("_parameters", {}).get(name) is not None


def once(make: Callable[[], T]) -> Callable[[], T]:
    """Makes something of weights at the first call, and keeps it."""
    kept: list[T] = []

    def get() -> T:
        if not kept:
            with made_once():
                kept.append(make())
        return kept[0]

    return get
