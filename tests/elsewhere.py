"""A second device without a second device: tensors on it lie on the CPU, say that they do not, and do not mix.

Tensors are tagged as lying elsewhere; what is computed of them lies there too. Where a tagged tensor meets one that is
not, torch's own error for two devices is raised; also for NumPy, which reads no tensor of a GPU. An "mps" tensor in
double precision is an error as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

_GETTERS = {"device", "is_cuda", "is_cpu", "is_mps"}
_ANYWHERE = {"copy_", "__set__", "set_data"}
_TO_HOST = {"item", "tolist", "__float__", "__int__", "__bool__", "__len__", "__repr__", "__format__", "__hash__"}
_TO_NUMPY = {"numpy", "__array__"}
_DOUBLE = {torch.float64, torch.complex128}


class Elsewhere(TorchFunctionMode):
    """While this is entered, `.to(kind)` takes tensors there. kind: "cuda" or "mps"."""

    def __init__(self, kind: str = "cuda") -> None:
        super().__init__()
        self.there = torch.device(kind, 0)
        self._tagged: Any = WeakIdKeyDictionary()
        self._restore: list[Any] = []

    def __enter__(self) -> Elsewhere:
        """Copies of a parameter, and modules that are moved, which torch makes and moves without asking a mode."""
        copied, moved = Parameter.__deepcopy__, Module.to

        def there_too(parameter: Parameter, memo: dict[int, Any]) -> Tensor:
            found = copied(parameter, memo)
            self._tag(found, self.holds(parameter))
            return found

        def all_of_it(module: Module, *args: Any, **kwargs: Any) -> Module:
            args, kwargs, target = self._without_device(args, kwargs)
            module = moved(module, *args, **kwargs) if args or kwargs else module
            if target is not None:
                for tensor in (*module.parameters(), *module.buffers()):
                    self._tag(tensor, target)
            return module

        self._restore.append((copied, moved))
        Parameter.__deepcopy__, Module.to = there_too, all_of_it  # pyright: ignore[reportAttributeAccessIssue]
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        Parameter.__deepcopy__, Module.to = self._restore.pop()  # pyright: ignore[reportAttributeAccessIssue]
        super().__exit__(*raised)

    def put(self, module: Any) -> None:
        """A module's parameters and buffers, moved."""
        for tensor in (*module.parameters(), *module.buffers()):
            self._tagged[tensor] = True

    def holds(self, tensor: Tensor) -> bool:
        return tensor in self._tagged

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        owner = getattr(getattr(function, "__self__", None), "__name__", "")
        if name == "__get__" and owner in _GETTERS:
            return self._getter(owner, args[0])
        if function is torch.device:
            return function(*args, **kwargs)
        given = list(_tensors((args, kwargs)))
        tagged = [tensor for tensor in given if self.holds(tensor)]
        if name in _TO_NUMPY and tagged:
            raise TypeError(f"can't convert {self.there} device type tensor to numpy")
        if name in ("to", "cpu", "cuda", "type_as"):
            return self._moved(function, name, args, kwargs)
        if name == "__deepcopy__":  # the memo holds whatever was copied before
            found = function(*args, **kwargs)
            self._tag(found, self.holds(args[0]))
            return found
        args, kwargs, target = self._without_device(args, kwargs)
        if target is None:
            target = bool(tagged)
            numbers = name == "__getitem__" and all(tensor.ndim == 0 for tensor in tagged)  # indices, read as numbers
            if tagged and name not in _ANYWHERE and not numbers and not self._indexed(name, args):
                self._check(name, given)
        if "out_dtype" in kwargs:  # which a GPU alone has
            kwargs.pop("out_dtype")
            args = tuple(arg.float() if isinstance(arg, Tensor) else arg for arg in args)
        found = function(*args, **kwargs)
        if name == "__set__" and owner == "data":
            self._tag(args[0], self.holds(args[1]))
        if target and name not in _TO_HOST:
            for tensor in _tensors(found):
                self._tag(tensor, True)
        return found

    def _indexed(self, name: str, args: Any) -> bool:
        """A tensor that lies there may be indexed by one that lies here."""
        return name == "__getitem__" and self.holds(args[0])

    def _getter(self, what: str, tensor: Tensor) -> Any:
        here = not self.holds(tensor)
        if what == "device":
            return torch.device("cpu") if here else self.there
        return here if what == "is_cpu" else not here and what == f"is_{self.there.type}"

    def _tag(self, tensor: Tensor, there: bool) -> None:
        if there:
            if self.there.type == "mps" and tensor.dtype in _DOUBLE:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it")
            self._tagged[tensor] = True
        else:
            self._tagged.pop(tensor, None)

    def _check(self, name: str, given: list[Tensor]) -> None:
        for tensor in given:
            if not self.holds(tensor) and tensor.ndim:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, {self.there} and "
                    f"cpu! (in {name}, which got {[(list(t.shape), self.holds(t)) for t in given]})"
                )

    def _moved(self, function: Any, name: str, args: Any, kwargs: Any) -> Tensor:
        source, there = args[0], self.holds(args[0])
        if name in ("cpu", "cuda"):
            there, args, kwargs = name == "cuda", (source,), {}
            function = Tensor.to
            args = (source, source.dtype)
        elif name == "type_as" or (len(args) > 1 and isinstance(args[1], Tensor)) or "other" in kwargs:
            other = args[1] if len(args) > 1 else kwargs["other"]
            there = self.holds(other)
        else:
            args, kwargs, target = self._without_device(args, kwargs)
            there = there if target is None else target
        found = function(*args, **kwargs) if len(args) > 1 or kwargs else source
        if found is source and there != self.holds(source):
            found = source.detach().clone() if not source.requires_grad else source.clone()
        self._tag(found, there)
        return found

    def _without_device(self, args: Any, kwargs: Any) -> tuple[Any, Any, bool | None]:
        """Arguments that name no device, and whether they named ours: None for no device at all."""
        named = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.device)]
        named += [torch.device(value) for value in (kwargs.get("device"), *args) if _names_device(value)]
        if not named:
            return args, kwargs, None
        args = tuple(arg for arg in args if not isinstance(arg, torch.device) and not _names_device(arg))
        kwargs = {key: value for key, value in kwargs.items() if key != "device"}
        return args, kwargs, named[0].type == self.there.type


def _names_device(value: Any) -> bool:
    return isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda", "mps")


def _tensors(given: Any) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (list, tuple)):
        for item in given:
            yield from _tensors(item)
    elif isinstance(given, dict):
        for item in given.values():
            yield from _tensors(item)
