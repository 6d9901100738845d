"""What a model's numbers depend on besides its inputs, and whether it is still the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import SummandError
from ..towers.listening import PassHook, entries
from .code import Code
from .samples import HIDDEN, address, bits, copied, equal, grouped, near, samples
from .sides import IMAGE_SIDE, TEXT_SIDE, only_of

_PLAIN = frozenset((int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size))
_UNSEEN = frozenset(
    # what torch keeps for gradients and for saving, which no output depends on, and how hooks are called
    (
        *("_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook"),
        *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"),
        *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    )
)
_DICTS = frozenset((dict, OrderedDict))
_FEW = 16
_SMALL = 4096  # bytes


class State:
    """A model as it was seen: its modules, their settings and code, the user's hooks, and its tensors.

    Tensors are compared by identity, address, version, dtype and device, and by a sample of their bits: element
    (k mod R, k mod C) of a matrix [R, C] for every k, and every element of a vector. So every edit of a whole row, a
    whole column or more is noticed by whatever means it was made, and every edit that torch counts. What is not
    noticed is a single element that is written past torch's count (through `.data`, or a numpy view).

    A parameter that is registered anew over the same numbers is the same (peft does so whenever modules are listed).
    Weights that a pass itself rewrites, up to rounding (peft merges adapters of `nn.MultiheadAttention` into them and
    takes them out again), are compared up to rounding.

    roots: gives the modules to look at, anew at every look, each with all that is below it; a module that stands in
    `aside` is left out, and so is what is below it. unseen: attributes that are left out everywhere; unread: parameters
    of the roots that are. core: a smaller state, of the modules without which there is no embedding and without hooks.
    """

    def __init__(
        self,
        roots: Callable[[], Iterable[nn.Module]],
        aside: Callable[[], Iterable[nn.Module]] = tuple,
        unseen: frozenset[str] = _UNSEEN,
        unread: Callable[[], frozenset[str]] = frozenset,
        core: State | None = None,
    ):
        self._roots, self._aside, self._unseen, self._unread, self._core = roots, aside, unseen, unread, core
        self._restless: set[tuple[int, str]] = set()
        self._restless_code: set[tuple[int, str]] = set()
        self._rewritten: set[tuple[int, str]] = set()
        self._spoilt = False
        self._see()

    def _look(self) -> tuple[list[Any], list[Tensor], list[Any], list[Tensor]]:
        if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            raise SummandError(HIDDEN)
        left_out = self._unseen, self._unread(), self._restless
        return _look(list(self._roots()), self._aside(), left_out, self._rewritten)

    def _see(self) -> None:
        for root in self._roots():
            list(root.modules())  # peft's wrappers register merged weights when they are listed
        self._settings, self._tensors, self._kept, rewritten = self._look()
        self._marks = [_mark(tensor) for tensor in self._tensors]
        self._samples = grouped([view for tensor in self._tensors for view in samples(tensor)])
        self._bits = self._sampled()
        self._roughly = copied(rewritten)
        self._code = self._see_code()

    def _see_code(self) -> Code:
        return Code({type(module) for module in self.modules()}, frozenset(self._restless_code))

    def modules(self) -> list[nn.Module]:
        """The modules that were seen."""
        return [module for module in self._kept if isinstance(module, nn.Module)]

    def still(self) -> bool:
        """Whether all is as it was."""
        if self._spoilt or not self._code.still():
            return False
        settings, tensors, _, rewritten = self._look()
        if settings != self._settings or len(tensors) != len(self._tensors):
            return False
        marks = [_mark(tensor) for tensor in tensors]
        if marks != self._marks or any(a is not b for a, b in zip(tensors, self._tensors, strict=True)):
            for old, new, was, now in zip(self._tensors, tensors, self._marks, marks, strict=True):
                if was != now if new is old else not was[0] or (was[0], *was[2:]) != (now[0], *now[2:]):
                    return False
        if not all(equal(a, b) for a, b in zip(self._sampled(), self._bits, strict=True)):
            return False
        self._tensors, self._marks = tensors, marks
        return not rewritten or near(self._roughly, copied(rewritten))

    def spoil(self) -> None:
        """Never the same again: what was made of it may have been made of what came later."""
        self._spoilt = True

    def core_still(self) -> bool:
        """Whether all that changed are hooks, and what stands in the model beside its towers."""
        return self._core is not None and self._core.still()

    def settle(self, make_a_pass: Callable[[], object]) -> None:
        """Leave out from now on what changes although the model does no more than make a pass: counters and records.
        Weights that are the same up to rounding are compared up to it."""
        before, code = self._attributes(), self._see_code()
        make_a_pass()
        now = self._attributes()
        changed = {key for key, (marks, *_) in now.items() if key not in before or before[key][0] != marks}
        weights = {key for key in changed if key[1] != "_buffers" and key in before}
        rewritten = {key for key in weights if near(before[key][1], now[key][1])}
        if changed or not code.still():
            self._restless_code |= code.changes()
            self._restless |= changed - rewritten
            self._rewritten = (self._rewritten | rewritten) - self._restless
            self._see()
            if self._core is not None:
                self._core._restless, self._core._rewritten = self._restless, self._rewritten
                self._core._see()

    def _attributes(self) -> dict[tuple[int, str], tuple[tuple[Any, ...], list[Tensor], list[Tensor]]]:
        """Every attribute of every module by itself: its marks, a sample of its tensors, and these tensors, so that no
        address comes again while it is compared."""
        found = {}
        for module in self.modules():
            for name, value in tuple(vars(module).items()):
                if name not in _UNSEEN:
                    marks: list[Any] = []
                    tensors: list[Tensor] = []
                    _note([_ordered(name, value)], marks, tensors, [], [])
                    marks.extend((id(tensor), _mark(tensor)) for tensor in tensors)
                    found[id(module), name] = tuple(marks), copied(tensors), tensors
        return found

    def _sampled(self) -> list[Tensor]:
        """The sampled bits, in one tensor for each dtype and device."""
        return bits(self._samples)


def _ordered(name: str, value: Any) -> Any:
    """Parameters in the order of their names: one that is registered anew goes to the end."""
    return dict(sorted(value.items())) if name in ("_parameters", "_buffers") and len(value) > 1 else value


def _look(
    roots: list[nn.Module],
    aside: Iterable[nn.Module],
    left_out: tuple[frozenset[str], frozenset[str], set[tuple[int, str]]],
    rewritten: set[tuple[int, str]],
) -> tuple[list[Any], list[Tensor], list[Any], list[Tensor]]:
    """Settings and identities in their order, the tensors, what must be kept so that no identity is used again (the
    modules among it), and the tensors of attributes that passes rewrite."""
    marks: list[Any] = []
    tensors: list[Tensor] = []
    kept: list[Any] = []
    rough: list[Tensor] = []
    unseen, unread, restless = left_out
    seen = {id(module) for module in aside}
    waiting = roots[::-1]
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        kind = type(module)
        marks += (id(module), kind, kind.forward)
        kept.append(module)
        below: list[nn.Module] = []
        others = []
        for name, value in tuple(vars(module).items()):
            if name not in unseen and not (restless and (id(module), name) in restless):
                if unread and name == "_parameters" and module in roots:
                    value = {key: item for key, item in entries(value) if key not in unread}
                if type(value) in _PLAIN:
                    marks.append(value)
                elif type(value) in _DICTS and _holds_nothing(value):  # most of them are
                    marks += (name, type(value))
                elif rewritten and (id(module), name) in rewritten:
                    _note([_ordered(name, value)], marks, rough, kept, below)
                else:
                    others.append(_ordered(name, value))
        _note(others, marks, tensors, kept, below)
        waiting.extend(reversed(below))
    return marks, tensors, kept, rough


def _holds_nothing(given: dict[Any, Any]) -> bool:
    """But for hooks of ours, which other threads set while they make a pass."""
    return not given or all(isinstance(item, PassHook) for _, item in entries(given))


def _note(waiting: list[Any], marks: list[Any], tensors: list[Tensor], kept: list[Any], below: list[nn.Module]) -> None:
    """Takes values apart, those in lists and dicts behind the others. One loop, for there are thousands."""
    holders: set[int] = set()
    for value in waiting:  # grows meanwhile
        kind = type(value)
        if kind in _PLAIN:
            marks.append(value)
        elif id(value) in holders:  # holds itself
            continue
        elif isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, nn.Module):
            below.append(value)
        elif isinstance(value, dict):
            holders.add(id(value))
            items = [item for item in entries(value) if not isinstance(item[1], PassHook)]
            keys, values = zip(*items, strict=True) if items else ((), ())
            marks += (kind, *keys) if _PLAIN.issuperset(map(type, keys)) else (kind,)
            _unfold(values, waiting, marks)
        elif isinstance(value, (list, tuple, set, frozenset)):
            holders.add(id(value))
            marks.append(kind)
            _unfold(tuple(value), waiting, marks)
        elif isinstance(value, np.ndarray):
            kept.append(value)
            marks += (id(value), str(value.dtype), value.shape)
            _note_array(value, marks, tensors, waiting)
        elif isinstance(value, bytearray):
            marks.append(bytes(value))
        else:
            marks.append(id(value))
            kept.append(value)


def _unfold(items: tuple[Any, ...], waiting: list[Any], marks: list[Any]) -> None:
    if len(items) > _FEW and _PLAIN.issuperset(map(type, items)):
        marks.extend(items)
    else:
        waiting.extend(items)


def _note_array(value: np.ndarray, marks: list[Any], tensors: list[Tensor], waiting: list[Any]) -> None:
    """The numbers of a small array, and a sample of those of a large one, as of a tensor."""
    if value.dtype == object:
        waiting.extend(value.ravel().tolist())
    elif value.nbytes > _SMALL and value.flags.writeable and value.dtype.kind in "fiub" and min(value.strides) >= 0:
        with suppress(TypeError):  # of a kind that torch does not know
            tensors.append(torch.from_numpy(value))
            return
    marks.append(value.tobytes() if value.nbytes <= _SMALL else hash(value.tobytes()))


def _mark(tensor: Tensor) -> tuple[Any, ...]:
    """Address, version and form."""
    if is_lazy(tensor):  # has no form yet
        return 0, 0, tensor.dtype, tensor.device, (), ()
    version = 0 if tensor.is_inference() else tensor._version
    if tensor.is_nested:
        return address(tensor), version, tensor.dtype, tensor.device, tensor.layout, tensor.size(0)
    strides = tensor.stride() if tensor.layout == torch.strided else ()
    return address(tensor), version, tensor.dtype, tensor.device, tensor.shape, strides


def image_state(clip: nn.Module) -> State:
    """All that image embeddings depend on: the model without what belongs to its text side alone."""
    return _state(clip, IMAGE_SIDE, TEXT_SIDE)


def text_state(clip: nn.Module) -> State:
    """All that text embeddings depend on: the model without what belongs to its image side alone."""
    return _state(clip, TEXT_SIDE, IMAGE_SIDE)


def _state(clip: nn.Module, own: tuple[str, ...], other: tuple[str, ...]) -> State:
    def towers() -> list[nn.Module]:
        found = dict(clip.named_children())
        return [found[name] for name in own if name in found] or [clip]

    def unread() -> frozenset[str]:
        return _SCALES if _as_published(clip) else frozenset()

    core = State(towers, unseen=_UNSEEN | {"_forward_hooks", "_forward_pre_hooks"})
    return State(lambda: [clip], lambda: only_of(clip, other), unread=unread, core=core)


_SCALES = frozenset(("logit_scale", "logit_bias"))
_LIBRARIES = frozenset(("open_clip", "clip", "transformers"))
_ENTRIES = ("encode_image", "encode_text", "get_image_features", "get_text_features")


def _as_published(clip: nn.Module) -> bool:
    """Whether embeddings are made as the libraries write it, where the scale of the logits takes no part."""
    made = [getattr(type(clip), name) for name in _ENTRIES if hasattr(type(clip), name)]
    plain = all(function.__module__.partition(".")[0] in _LIBRARIES for function in made)
    return bool(made) and plain and not any(name in vars(clip) for name in _ENTRIES)
