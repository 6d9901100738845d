"""What a model's numbers depend on besides its inputs, and whether it is still the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SummandError
from .code import Code
from .flat import Flat, flat
from .marks import UNSEEN, columns, look, mark, note, ordered
from .samples import HIDDEN, bits, copied, equal, grouped, near, samples

_TRAINING = attrgetter("training")


class State:
    """A model as it was seen: its modules, their settings and code, the user's hooks, and its tensors.

    Tensors are compared by identity, address, version, dtype and device, and by a sample of their bits: an element of
    every row and of every column of a matrix (`samples`), and every element of a vector. So every edit of a whole row,
    a whole column or more is noticed by whatever means it was made, and every edit that torch counts. What is not
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
        unseen: frozenset[str] = UNSEEN,
        unread: Callable[[], frozenset[str]] = frozenset,
        core: State | None = None,
    ):
        self._roots, self._aside, self._unseen, self._unread, self._core = roots, aside, unseen, unread, core
        self._restless: set[tuple[int, str]] = set()
        self._restless_code: set[tuple[int, str]] = set()
        self._rewritten: set[tuple[int, str]] = set()
        self._spoilt = False
        self._known: dict[str, Any] = {}
        self._listed: tuple[Flat, list[nn.Module], list[Tensor]] | None = None
        self._see()

    def _look(self) -> tuple[list[Any], list[Tensor], list[Any], list[Tensor]]:
        refuse_while_tracing()
        left_out = self._unseen, self._unread(), self._restless
        return look(list(self._roots()), self._aside(), left_out, self._rewritten)

    def _see(self) -> None:
        for root in self._roots():
            list(root.modules())  # peft's wrappers register merged weights when they are listed
        self._listed = None
        self._settings, self._tensors, self._kept, rewritten = self._look()
        self._marks, self._columns = [mark(tensor) for tensor in self._tensors], columns(self._tensors)
        self._samples = grouped([view for tensor in self._tensors for view in samples(tensor)])
        self._bits = self._sampled()
        self._roughly = copied(rewritten)
        self._code = self._see_code()
        self._switches = self.modules()
        self._modes = list(map(_TRAINING, self._switches))

    def _see_code(self) -> Code:
        return Code({type(module) for module in self.modules()}, frozenset(self._restless_code))

    def modules(self) -> list[nn.Module]:
        """The modules that were seen."""
        return [module for module in self._kept if isinstance(module, nn.Module)]

    def modes_still(self) -> bool:
        """Whether the same modules are in training mode: asked in front of a pass that is made before the model is
        looked at, for in that mode a pass may write to the model (batch statistics)."""
        return list(map(_TRAINING, self._switches)) == self._modes

    def known(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` gives, which depends on the state alone: looked at once."""
        if what not in self._known:
            self._known[what] = look()
        return self._known[what]

    def still(self) -> bool:
        """Whether all is as it was."""
        if self._spoilt or not self._code.still():
            return False
        found = self._found()
        if found is None:
            return False
        tensors, rewritten = found
        if not self._marked(tensors):
            return False
        if not equal(self._sampled(), self._bits):
            return False
        return not rewritten or near(self._roughly, copied(rewritten))

    def _marked(self, tensors: list[Tensor]) -> bool:
        """Whether these are the tensors that were seen, with their marks."""
        now = columns(tensors)
        if now is not None and now == self._columns and all(map(is_, tensors, self._tensors)):
            return True
        marks = [mark(tensor) for tensor in tensors]
        if marks != self._marks or any(a is not b for a, b in zip(tensors, self._tensors, strict=True)):
            for old, new, was, now in zip(self._tensors, tensors, self._marks, marks, strict=True):
                if was != now if new is old else not was[0] or (was[0], *was[2:]) != (now[0], *now[2:]):
                    return False
        self._tensors, self._marks, self._columns = tensors, marks, columns(tensors)
        return True

    def _found(self) -> tuple[list[Tensor], list[Tensor]] | None:
        """The tensors, and those that passes rewrite, where the settings are the same. They are taken apart only
        where the modules do not hold the very objects that they held at the last look: what stands aside and what is
        not read follows from these."""
        refuse_while_tracing()
        listed, roots = self._listed, list(self._roots())
        if listed is not None and _alike(roots, listed[1]) and listed[0].still():
            return listed[2], []
        fresh = None if self._rewritten else flat(self.modules(), self._unseen, self._restless)  # before the look
        settings, tensors, _, rewritten = self._look()
        if settings != self._settings or len(tensors) != len(self._tensors):
            return None
        self._listed = None if fresh is None else (fresh, roots, tensors)
        return tensors, rewritten

    def spoil(self) -> None:
        """Never the same again: what was made of it may have been made of what came later."""
        self._spoilt = True

    @property
    def settled(self) -> bool:
        """Whether passes were found to leave something behind."""
        return bool(self._restless or self._restless_code or self._rewritten)

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
        if any(name == "_parameters" for _, name in changed - rewritten):
            return  # no pass does that: another thread has edited them meanwhile
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
                if name not in UNSEEN:
                    marks: list[Any] = []
                    tensors: list[Tensor] = []
                    note([ordered(name, value)], marks, tensors, [], [])
                    marks.extend((id(tensor), mark(tensor)) for tensor in tensors)
                    found[id(module), name] = tuple(marks), copied(tensors), tensors
        return found

    def _sampled(self) -> list[Tensor]:
        """The sampled bits, in one tensor for each dtype and device."""
        return bits(self._samples)


def _alike(now: list[nn.Module], then: list[nn.Module]) -> bool:
    return len(now) == len(then) and all(map(is_, now, then))


def refuse_while_tracing() -> None:
    """Raises `SummandError` in torch.jit.trace, where nothing can be looked at, before anything is computed: torch may
    end the process over a trace that is left in the middle."""
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        raise SummandError(HIDDEN)
