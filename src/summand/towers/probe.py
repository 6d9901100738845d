"""A module read by what it does to vectors, where its parameters do not say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SummandError
from .base import of_weights
from .precision import doubled, unmixed, with_fp64

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_SMALL = 0.4 / 127  # less than half a step of eight bits beside a one
_BETWEEN = 33 / 64  # half way between two numbers of eight-bit floating point, beside a one
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""How far rounding may take a linear map from W x + b, as a share of |W| |x| + |b|."""


def probed(module: nn.Module, where: str) -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"]]:
    r"""W = f(I) − f(0) and b = f(0) of a module f, where f(x) = W x + b also for other vectors.

    f is computed in fp64 (on the CPU where the device has none) by a copy of the module without the user's hooks; where
    it cannot be copied so (quantised weights, a `forward` set on the object), by the module itself. Raises
    `SummandError` where f takes no vectors or is not linear: quantised activations, gates, dropout.
    """
    noisy = next((each for each in module.modules() if _drops(each)), None)
    if noisy is not None:
        raise SummandError(
            f"{where} ({named(module)}) has dropout in training mode, which changes every pass; call .eval() on it"
        )
    reason = "it takes no vectors"
    for function, dtype, device in _ways(module):
        for width in _widths(module):
            with suppress(Exception), made_once():
                weight, bias = _read(function, width, dtype, device)
                error = _departure(function, weight, bias)
                if error <= _TOLERANCE[dtype]:
                    kept = _dtype_of(module), _device_of(module)
                    return weight.to(kept[1], kept[0]), bias.to(kept[1], kept[0])
                reason = f"it departs from W x + b by {error:.1g} of |W| |x|"
    raise SummandError(f"{where} ({named(module)}) is not one linear map: {reason}{remedy(module)}")


def named(module: Any) -> str:
    """A module's class, with the library it is from where that is not torch."""
    kind = type(module)
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package in ("torch", "builtins", "__main__") else f"{kind.__name__} of {package}"


def remedy(module: Any) -> str:
    """What to do about a module that cannot be read, by where it comes from; as the end of a sentence."""
    kinds = [type(each) for each in (module.modules() if isinstance(module, nn.Module) else [module])]
    if any(kind.__module__.startswith("peft.") for kind in kinds):
        return "; call merge_and_unload() on the peft model and wrap what it returns"
    if any(is_quantised(each) for each in (module.modules() if isinstance(module, nn.Module) else [module])):
        return "; where activations are quantised at run time no sum is exact: wrap the model from before quantisation"
    return ""


def is_quantised(module: Any) -> bool:
    """Whether a module keeps its weights in fewer bits than it computes with."""
    name, origin = type(module).__name__, type(module).__module__
    if ".quantized" in origin or ".quantization" in origin or origin.startswith(("bitsandbytes", "torchao")):
        return True
    if name in ("Linear8bitLt", "Linear4bit", "QuantLinear") or hasattr(module, "qweight"):
        return True
    own = vars(module).get("_parameters", {}).values() if isinstance(module, nn.Module) else ()
    return any(p is not None and type(p).__module__.startswith("torchao") for p in own)


@contextmanager
def made_once() -> Iterator[None]:
    """`of_weights`, wherever the weights are."""
    with of_weights(torch.device("cpu")), unmixed(torch.device("cuda")):
        yield


def _drops(module: nn.Module) -> bool:
    return module.training and "Dropout" in type(module).__name__ and getattr(module, "p", 0) > 0


def _ways(module: nn.Module) -> Iterator[tuple[Callable[[Tensor], Tensor], torch.dtype, torch.device]]:
    """Ways to compute the module, the most precise first."""
    device = _device_of(module)
    with suppress(Exception):
        copied = stripped(module)
        yield copied.forward, torch.float64, with_fp64(device)
    own = _dtype_of(module)
    for dtype in dict.fromkeys((own, torch.float32, torch.bfloat16, torch.float16)):
        yield module.forward, dtype, device


def _device_of(module: nn.Module) -> torch.device:
    tensors = (*module.parameters(), *module.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _dtype_of(module: nn.Module) -> torch.dtype:
    """What the module is kept in: the precision of its first floating-point tensor."""
    tensors = (*module.parameters(), *module.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.dtype in _FLOATS), torch.float32)


def _widths(module: nn.Module) -> list[int]:
    """Lengths of the vectors that the module may take, the likeliest first."""
    told = [getattr(each, "in_features", None) for each in module.modules()]
    shapes = [size for tensor in module.parameters() if tensor.ndim == 2 for size in reversed(tensor.shape)]
    return list(dict.fromkeys(size for size in (*told, *shapes) if isinstance(size, int) and size > 0))


def _read(
    function: Callable[[Tensor], Tensor], width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    bias = function(torch.zeros(1, width, dtype=dtype, device=device))
    if bias.ndim != 2 or len(bias) != 1:
        raise ValueError
    weight = function(torch.eye(width, dtype=dtype, device=device)) - bias
    return weight.T.contiguous(), bias[0]


def _departure(function: Callable[[Tensor], Tensor], weight: Tensor, bias: Tensor) -> float:
    """max |f(x) − W x − b| / (|W| |x| + |b|) over vectors that tell a linear map from one that rounds, clips or gates
    what it is given: random ones, small and large, and for some outputs vectors all of whose parts add up while they
    are too small for, or lie between, the numbers of eight bits."""
    width, eps = weight.shape[1], torch.finfo(weight.dtype).eps
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([[1.0], [1e-2], [30.0]], dtype=torch.float64)
    drawn = torch.randn(3, width, generator=generator, dtype=torch.float64) * sizes
    linear, constant = doubled(weight), doubled(bias)
    rows = linear[:: max(1, len(linear) // 4)][:4]
    signs = torch.where(rows < 0, -1.0, 1.0).to(rows)
    one = torch.zeros_like(signs).scatter_(1, rows.abs().argmin(dim=1, keepdim=True), 1.0)
    aligned = [torch.where(one > 0, signs, signs * size) for size in (_SMALL, _BETWEEN)]
    vectors = torch.cat([drawn.to(rows.device), *aligned]).to(weight.dtype)
    exact = vectors.double()
    error = (doubled(function(vectors.to(weight.device))) - exact @ linear.T - constant).abs()
    error = (error - eps * exact.abs().sum(dim=1, keepdim=True) * constant.abs()).clamp(min=0)  # of f(I) − f(0)
    scale = exact.abs() @ linear.abs().T + constant.abs()
    scale = torch.maximum(scale, 1e-3 * scale.amax(dim=1, keepdim=True)).clamp(min=torch.finfo(scale.dtype).tiny)
    return float((error / scale).max()) if bool(torch.isfinite(error).all()) else float("inf")


def stripped(module: nn.Module) -> nn.Module:
    """The module in fp64, without the user's hooks; torch's own hooks, which make weights, are kept. Tensors in fp64
    are shared with the module. Raises `ValueError` where it computes something that cannot be copied so."""
    if type(module).__name__ == "OptimizedModule":
        return stripped(module._orig_mod)  # type: ignore[arg-type]
    given = vars(module)
    if "forward" in given or isinstance(module, torch.jit.ScriptModule):
        raise ValueError("what it computes is bound to the object itself")
    copied = object.__new__(type(module))
    state = {name: _cast(value) for name, value in given.items() if name != "_compiled_call_impl"}
    for name in ("_parameters", "_buffers"):
        state[name] = {key: _cast(value) for key, value in given[name].items()}
    state["_modules"] = {key: None if child is None else stripped(child) for key, child in given["_modules"].items()}
    for name in ("_forward_hooks", "_forward_pre_hooks"):
        kept = list(given[name].items())  # another thread may attach a hook
        state[name] = type(given[name])((key, hook) for key, hook in kept if _makes_weights(hook))
    copied.__dict__.update(state)
    return copied


def _makes_weights(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils.")


def _cast(value: Any) -> Any:
    return doubled(value.detach()) if type(value) in (Tensor, nn.Parameter) and value.dtype in _FLOATS else value
