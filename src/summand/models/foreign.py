"""Code in a model that is of none of the libraries that are read: what it does may depend on anything."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..towers.effective import class_of
from ..towers.listening import entries, hooks_of
from .global_hooks import global_hooks

LIBRARIES = (
    *("torch", "torchvision", "open_clip", "timm", "transformers", "clip", "peft", "torchao", "accelerate"),
    *("bitsandbytes", "huggingface_hub", "safetensors", "numpy", "einops", "summand"),
)
_KNOWN = frozenset((*LIBRARIES, *sys.stdlib_module_names))
_OF_TORCH = frozenset(vars(nn.Module()))
_SAYS_NOTHING = frozenset(
    ("extra_repr", "_compiled_call_impl")
)  # torchao's own words; torch.compile of the class's own


def is_known(module_name: Any) -> bool:
    """Whether a Python module is of Python or of a library whose models are read."""
    return isinstance(module_name, str) and module_name.partition(".")[0] in _KNOWN


def known_class(kind: type) -> bool:
    """Whether a class and all that it inherits from are of known libraries."""
    return all(is_known(each.__module__) for each in kind.__mro__)


def known_function(value: Any, seen: set[int] | None = None) -> bool:
    """Whether all the code that a function, a partial or a callable object runs is known. A function is judged by where
    it was written, for `functools.wraps` gives it another one's name; what a decorator holds is looked into."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return True
    seen.add(id(value))
    if isinstance(value, types.FunctionType):
        return is_known(value.__globals__.get("__name__")) and _all_known(_closed_over(value), seen)
    if isinstance(value, (staticmethod, classmethod)):
        return known_function(value.__func__, seen)
    if isinstance(value, property):
        return _all_known((value.fget, value.fset), seen)
    if isinstance(value, functools.partial):
        return known_function(value.func, seen) and _all_known((*value.args, *value.keywords.values()), seen)
    if isinstance(value, types.MethodType):
        return known_function(value.__func__, seen) and _all_known([value.__self__], seen)
    return known_class(value if isinstance(value, type) else type(value))  # built-in functions among them


def _all_known(held: Iterable[Any], seen: set[int]) -> bool:
    """Whether what a function holds runs known code alone, and holds no weights, which nothing looks at there."""
    held = list(held)
    if any(isinstance(item, (Tensor, nn.Module, np.ndarray)) for item in held):
        return False
    return all(known_function(item, seen) for item in held if callable(item))


def _closed_over(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def holds_foreign_code(modules: Iterable[nn.Module]) -> bool:
    """Whether anything may run in a pass through these modules whose behaviour no look at the model can tell."""
    modules = list(modules)
    if global_hooks():
        return True
    kinds = {class_of(module) for module in modules}
    if not all(known_class(kind) for kind in kinds) or next(patched(kinds), None) is not None:
        return True
    return any(_foreign_hooks(module) or next(foreign_attributes(module), None) for module in modules)


def _foreign_hooks(module: nn.Module) -> bool:
    return not all(known_function(hook) for hook in hooks_of(module))


def foreign_attributes(module: nn.Module) -> Iterator[str]:
    """Attributes set on the object that are code: methods in place of its class's, and functions of the user's."""
    for name, value in entries(vars(module)):
        if name in ("_parameters", "_buffers"):
            yield from (key for key, tensor in entries(value) if not known_class(type(tensor)))
        if name in _OF_TORCH or name in _SAYS_NOTHING:
            continue
        code = callable(value) and not isinstance(value, nn.Module)
        in_place = code and callable(getattr(type(module), name, None))
        if in_place or any(not known_function(held) for held in _held(value)):
            yield name


def _held(value: Any, depth: int = 3) -> Iterator[Any]:
    """The functions in a value, and the objects whose class is of others, in lists and dicts too."""
    if isinstance(value, (list, tuple, set, frozenset)) and depth:
        for item in tuple(value):
            yield from _held(item, depth - 1)
    elif isinstance(value, dict) and depth:
        for _, item in entries(value):
            yield from _held(item, depth - 1)
    elif not isinstance(value, nn.Module) and (callable(value) or not known_class(type(value))):
        yield value


def patched(kinds: Iterable[type]) -> Iterator[str]:
    """Methods of known classes, and functions of the Python modules that these are written in, which come from
    elsewhere."""
    classes = {base for kind in kinds for base in kind.__mro__ if base is not object and is_known(base.__module__)}
    for kind in sorted(classes, key=lambda each: (each.__module__, each.__qualname__)):
        for name, value in tuple(vars(kind).items()):
            if not known_class(type(value)) or (isinstance(value, _CODE) and not known_function(value)):
                yield f"{kind.__name__}.{name}"
    for home in homes_of(classes):
        for name, value in tuple(home.items()):
            if isinstance(value, _CODE) and not of_compile(name) and not known_function(value):
                yield f"{home['__name__']}.{name}"


def homes_of(classes: Iterable[type]) -> list[dict[str, Any]]:
    """What stands in the libraries' Python modules that these classes are written in, and in torch's functions."""
    names = {kind.__module__ for kind in classes if is_known(kind.__module__)} | {"torch.nn.functional"}
    return [vars(sys.modules[name]) for name in sorted(names & sys.modules.keys())]


def of_compile(name: str) -> bool:
    """Whether an entry of a Python module was left there by torch.compile, whose own code alone asks for it."""
    return name.startswith(("__compiled_fn_", "__resume_at_"))


_CODE = (types.FunctionType, types.MethodType, staticmethod, classmethod, property, functools.partial)
