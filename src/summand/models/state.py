"""What a model's numbers depend on besides its inputs, and whether it is still the same."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SummandError
from ..towers.listening import PassHook

T = TypeVar("T")

_PLAIN = frozenset((int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size))
_CALLED = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type)
_UNSEEN = frozenset(
    # what torch keeps for gradients and for saving, which no output depends on, and how hooks are called
    (
        *("_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook"),
        *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"),
        *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    )
)
_MOST_ITEMS = 256
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class State:
    """A model as it was seen: its modules, their settings, the user's hooks, and its tensors.

    Tensors are compared by identity, address, version, dtype and device, and by a sample of their bits: element
    (k mod R, k mod C) of a matrix [R, C] for every k, and every element of a vector. So every edit of a whole row, a
    whole column or more is noticed by whatever means it was made, and every edit that torch counts. What is not
    noticed is a single element that is written past torch's count (through `.data`, or a numpy view).

    roots: gives the modules to look at, anew at every look, each with all that is below it; a module that stands in
    `aside` is left out, and so is what is below it.
    """

    def __init__(self, roots: Callable[[], Iterable[nn.Module]], aside: Callable[[], Iterable[nn.Module]] = tuple):
        self._roots, self._aside = roots, aside
        self._restless: set[tuple[int, str]] = set()
        self._see()

    def _see(self) -> None:
        self._marks, self._tensors, self._kept = _look(self._roots(), self._aside(), self._restless)
        self._samples = [_samples(tensor) for tensor in self._tensors]
        self._bits = self._sampled()

    def still(self) -> bool:
        """Whether all is as it was."""
        marks, tensors, _ = _look(self._roots(), self._aside(), self._restless)
        if len(tensors) != len(self._tensors) or any(a is not b for a, b in zip(tensors, self._tensors, strict=True)):
            return False
        if marks != self._marks:
            return False
        return all(torch.equal(a, b) for a, b in zip(self._sampled(), self._bits, strict=True))

    def attributes(self) -> dict[tuple[int, str], tuple[Any, ...]]:
        """Every attribute of every module by itself."""
        found = {}
        for module in _modules(self._roots(), self._aside()):
            for name, value in tuple(vars(module).items()):
                if name not in _UNSEEN:
                    marks: list[Any] = []
                    tensors: list[Tensor] = []
                    _note(value, marks, tensors, [], [])
                    found[id(module), name] = (*marks, *((id(tensor), _mark(tensor)) for tensor in tensors))
        return found

    def settle(self, before: dict[tuple[int, str], tuple[Any, ...]]) -> None:
        """Leave out from now on what has changed since `before`, when the model did no more than make a pass: counters
        and caches of modules that keep a record."""
        restless = {key for key, value in self.attributes().items() if before.get(key) != value}
        if restless:
            self._restless |= restless
            self._see()

    def _sampled(self) -> list[Tensor]:
        """The sampled bits, in one tensor for each dtype and device."""
        groups: dict[Any, list[Tensor]] = {}
        with torch.inference_mode(False), torch.no_grad():
            for views in self._samples:
                for view in views:
                    groups.setdefault((view.dtype, view.device), []).append(view.reshape(-1))
            whole = [torch.cat(group) for group in groups.values()]
        return [found if found.dtype not in _FLOATS else found.view(_BITS[found.element_size()]) for found in whole]


_FLOATS = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))


def _modules(roots: Iterable[nn.Module], aside: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """All modules once, also those in lists and dicts that torch does not know of."""
    seen = {id(module) for module in aside}
    waiting = list(roots)[::-1]
    while waiting:
        module = waiting.pop()
        if id(module) not in seen:
            seen.add(id(module))
            yield module
            below: list[nn.Module] = []
            for value in tuple(vars(module).values()):
                _note(value, [], [], [], below)
            waiting.extend(reversed(below))


def _look(
    roots: Iterable[nn.Module], aside: Iterable[nn.Module], restless: set[tuple[int, str]]
) -> tuple[list[Any], list[Tensor], list[Any]]:
    """Settings and identities in their order, the tensors, and what must be kept so that no identity is used again."""
    marks: list[Any] = []
    tensors: list[Tensor] = []
    kept: list[Any] = []
    seen = {id(module) for module in aside}
    waiting = list(roots)[::-1]
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        kind = type(module)
        marks.append(id(module))
        marks.append(kind)
        marks.append(kind.forward)
        kept.append(module)
        below: list[nn.Module] = []
        for name, value in tuple(vars(module).items()):
            if name not in _UNSEEN and not (restless and (id(module), name) in restless):
                _note(value, marks, tensors, kept, below)
        waiting.extend(reversed(below))
    marks.extend(_mark(tensor) for tensor in tensors)
    return marks, tensors, kept


def _note(value: Any, marks: list[Any], tensors: list[Tensor], kept: list[Any], below: list[nn.Module]) -> None:
    kind = type(value)
    if kind in _PLAIN:
        marks.append(value)
    elif isinstance(value, Tensor):
        tensors.append(value)
    elif isinstance(value, nn.Module):
        below.append(value)
    elif isinstance(value, (dict, list, tuple, set, frozenset)):
        if len(value) > _MOST_ITEMS and not any(isinstance(item, (Tensor, nn.Module)) for item in _items(value)):
            marks.extend((id(value), len(value)))
            kept.append(value)
            return
        marks.append(kind)
        for item in _items(value):
            if not isinstance(item, PassHook):  # one of a pass that another thread makes now
                _note(item, marks, tensors, kept, below)
    elif isinstance(value, np.ndarray):
        marks.append(value.tobytes() if value.nbytes <= 4096 else id(value))
        kept.append(value)
    else:
        marks.append(id(value))
        kept.append(value)


def _items(value: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return iter(tuple(value))
    return (part for key, item in tuple(value.items()) for part in ((key, item) if type(key) is str else (item,)))


def _mark(tensor: Tensor) -> tuple[Any, ...]:
    version = 0 if tensor.is_inference() else tensor._version
    return address(tensor), version, tensor.dtype, tensor.device, tensor.shape


def address(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; 0 where it has no address of its own (wrapped, fake or meta tensors)."""
    try:
        return tensor.data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


def _samples(tensor: Tensor) -> list[Tensor]:
    """Views of the elements that are compared."""
    plain = type(tensor) in (Tensor, nn.Parameter, nn.Buffer) if hasattr(nn, "Buffer") else True
    if not plain or tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or not tensor.numel():
        return []
    with torch.inference_mode(False), torch.no_grad():
        flat = tensor.detach()
        while flat.ndim > 1 and 1 in flat.shape:
            flat = flat.squeeze()
        if flat.ndim <= 1:
            return [flat]
        if flat.ndim > 2:
            flat = flat.flatten(1) if flat.is_contiguous() else flat
        if flat.ndim > 2 or 0 in flat.stride():
            return [flat]
        return _diagonals(flat)


def _diagonals(matrix: Tensor) -> list[Tensor]:
    """Element (k mod R, k mod C) for every k < max(R, C), as views: whole diagonals, and what is left of the last."""
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    (rows, columns), (down, right) = matrix.shape, matrix.stride()
    whole, rest = divmod(rows, columns)
    start = matrix.storage_offset()
    views = [matrix.as_strided((whole, columns), (columns * down, down + right), start)]
    if rest:
        views.append(matrix.as_strided((rest,), (down + right,), start + whole * columns * down))
    return views


_IMAGE_SIDE = ("visual", "vision_model", "visual_projection")
_TEXT_SIDE = ("text", "text_model", "transformer", "token_embedding", "ln_final", "text_decoder", "text_projection")


def image_state(clip: nn.Module) -> State:
    """All that image embeddings depend on: the model without what belongs to its text side alone."""
    return State(lambda: [clip], lambda: _children(clip, _TEXT_SIDE))


def text_state(clip: nn.Module) -> State:
    """All that text embeddings depend on: the model without what belongs to its image side alone."""
    return State(lambda: [clip], lambda: _children(clip, _IMAGE_SIDE))


def _children(clip: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    found = dict(clip.named_children())
    if not any(name in found for name in _IMAGE_SIDE):
        return []  # a tower by itself
    return [found[name] for name in names if name in found]


class Made(Generic[T]):
    """Something that is made of a model's state, and made anew where the state has changed. Threads may share it.

    see: the model's state as it is now; make: what is made of it, given the state.
    """

    def __init__(self, see: Callable[[], State], make: Callable[[State], T]) -> None:
        self._see, self._make = see, make
        self._lock = threading.RLock()
        self._found: tuple[State, T] | None = None

    def current(self) -> T:
        """The thing, of the state as it is now."""
        found = self._found
        if found is not None and found[0].still():
            return found[1]
        with self._lock:
            if self._found is None or self._found is found or not self._found[0].still():
                self._found = None
                state = self._see()
                self._found = (state, self._make(state))
            return self._found[1]

    def unchanged(self, said: str) -> Callable[[], None]:
        """Raises `SummandError` with these words where the state is no longer the one that was seen last."""
        found = self._found

        def check() -> None:
            if found is None or not found[0].still():
                raise SummandError(said)

        return check

    def forget(self) -> None:
        """Make it anew at the next use, whatever the state is."""
        with self._lock:
            self._found = None
