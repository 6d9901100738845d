"""In which precision numbers are computed, whatever the caller has switched on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

_Function = TypeVar("_Function", bound=Callable[..., Any])


def unmixed(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast off, for what runs on this kind of device."""
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()


def as_written(function: _Function) -> _Function:
    """Computed in the precision of its tensors where the caller has autocast on: autocast would round the products to
    half precision, and what is kept of them would stay rounded after it."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        devices = {value.device.type: value.device for value in (*args, *kwargs.values()) if hasattr(value, "device")}
        on = [device for kind, device in devices.items() if torch.is_autocast_enabled(kind)]
        if not on:
            return function(*args, **kwargs)
        with unmixed(on[0]):
            return wrapper(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def with_fp64(device: torch.device | str) -> torch.device:
    """The device, or the CPU where it has no fp64, as Apple's GPUs have not."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


def fast_fp64(device: torch.device) -> bool:
    """Whether products in fp64 take about twice the time of fp32, as on CPUs and on GPUs for data centres, and not
    thirty times."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) in ((6, 0), (7, 0), (8, 0), (9, 0))


def doubled(numbers: Tensor) -> Tensor:
    """In fp64, on a device that has it."""
    return numbers.to(with_fp64(numbers.device)).double()


def promoted(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider of their two precisions, so that neither is rounded to the other's."""
    if one.dtype == other.dtype:
        return one, other
    wide = torch.promote_types(one.dtype, other.dtype)
    return one.to(wide), other.to(wide)
