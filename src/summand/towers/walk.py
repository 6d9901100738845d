"""A pass made block by block: the parts of the model's own blocks called in their order, so that nothing has to be
listened to. On the host that takes less time than the model's own forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function

from .eager import eagerly, exporting
from .effective import seen_through
from .listening import apart, enough, hooks_of, listened, listening

if TYPE_CHECKING:
    from .base import Trace
    from .guarded import Guarded
    from .residual import ResidualTower
    from .view import Visit

_HOMES = {
    "ResidualAttentionBlock": {"open_clip.transformer", "clip.model"},
    "Block": {"timm.models.vision_transformer"},
}
"""Blocks that are known, and the Python modules that they and their forward are written in: other blocks of the same
libraries have the same names."""

_BEGUN = 3  # steps: the first block, and what the attention of the second one reads

Seen = tuple[Tensor, Tensor | None]
Steps = Iterator[Seen]
"""Of every block its tokens and what its attention reads of them, then the tokens between attention and MLP and None;
at last the tokens that leave the last one."""


@dataclass(frozen=True)
class Parts:
    """A block that is z' = z + s(attention(N(z))), z'' = z' + s(MLP(N(z'))), by its own modules."""

    norm: Callable[[Tensor], Tensor]
    attend: Callable[[Tensor], Tensor]
    behind_attention: tuple[nn.Module, ...]
    second: Callable[[Tensor], Tensor]
    mlp: Callable[[Tensor], Tensor]
    behind_mlp: tuple[nn.Module, ...]

    @classmethod
    def of(cls, block: nn.Module) -> Parts | None:
        """None for a block of which it is not known that its forward is this, and for one that has hooks itself."""
        module = seen_through(block)
        kind = type(module)
        homes = {kind.__module__, kind.forward.__module__}
        if not homes <= _HOMES.get(kind.__name__, set()) or "forward" in vars(module):
            return None
        if hooks_of(block) or hooks_of(module):
            return None
        if kind.__name__ == "Block":
            behind = (_present(module, "ls1", "drop_path1"), _present(module, "ls2", "drop_path2"))
            return cls(module.norm1, module.attn, behind[0], module.norm2, module.mlp, behind[1])
        if hasattr(module, "ln_1_kv"):
            return None
        behind = (_present(module, "ls_1"), _present(module, "ls_2"))
        return cls(module.ln_1, module.attention, behind[0], module.ln_2, module.mlp, behind[1])


def _present(module: nn.Module, *names: str) -> tuple[nn.Module, ...]:
    found = (getattr(module, name, None) for name in names)
    return tuple(each for each in found if each is not None and (type(each) is not nn.Identity or hooks_of(each)))


def untouched(block: nn.Module) -> bool:
    """Whether a block does what its class says: no hook of the user's in it, and no forward of its own."""
    return not any(hooks_of(module) or "forward" in vars(module) for module in block.modules())


def walkable(tower: ResidualTower, device: torch.device) -> bool:
    """Whether a pass may be made so: an ordinary one, of blocks whose parts are known, to which nobody listens."""
    return tower.parts is not None and not listened() and ordinary(tower, device)


def ordinary(tower: Guarded, device: torch.device) -> bool:
    """Whether a pass is of no code of others, without autocast, and not for a program."""
    return not (tower.always_checked or exporting() or torch.is_autocast_enabled(device.type))


def called_with(
    module: nn.Module, root: nn.Module, make_a_pass: Callable[[], object]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """What a module is called with in a pass of `root`, which is left there; None where it is not reached."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def reached(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((args, kwargs))
        enough()

    with listening([(module, "call", reached)], root):
        make_a_pass()
    return calls[0] if calls else None


class Begun:
    """A pass of a tower that has been begun: the blocks' steps, some of which are made, what a played pass gave, or
    what enters a pool. weight: one of the tower's, for where and how it computes."""

    def __init__(
        self,
        tower: Any,
        weight: Tensor,
        steps: Steps | None = None,
        numbers: tuple[Tensor, ...] | None = None,
        entering: Tensor | None = None,
    ) -> None:
        self.steps, self.numbers, self.entering = steps, numbers, entering
        self._guard, self._weight, self._how = tower.guard, weight, _how(weight)

    def run(self, tower: Any, pixels: Tensor, visit: Visit | None) -> Trace:
        """The rest of it; all of it by a tower of another state, and where its steps are made otherwise by now."""
        same = tower.guard is self._guard and _how(self._weight) == self._how
        return tower.run(pixels, visit, self if same else None)


def _how(weight: Tensor) -> tuple[Any, ...]:
    """In what precision products are computed, whether torch counts what is written in place, whether a mode of the
    user's handles torch's functions, and, on a GPU, in which stream: memory of one is given away without waiting for
    another that reads it."""
    stream = torch.cuda.current_stream(weight.device) if weight.is_cuda else None
    mixed, modes = torch.is_autocast_enabled(weight.device.type), has_torch_function((weight,))
    return mixed, torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled(), modes, stream


def begun(tower: ResidualTower, pixels: Tensor) -> Steps | None:
    """A pass up to its second block, so that a GPU has something to do. None where it cannot be made so, or is the
    second one of two."""
    twice = tower.averaged and tower.norm is not None and tower.norm_first
    if twice or len(tower.blocks) == 1 or not walkable(tower, pixels.device):
        return None
    with eagerly(), apart():
        rest = steps(tower, pixels)
        return None if rest is None else chain([next(rest) for _ in range(_BEGUN)], rest)


def steps(tower: ResidualTower, pixels: Tensor) -> Steps | None:
    """The pass, made as far as it is read. None where the blocks are handed more than their tokens."""
    args, kwargs = called_with(tower.blocks[0].module, tower.visual, lambda: tower.visual(pixels)) or ((), {})
    handed = [*args[1:], *kwargs.values()]
    return _steps(tower.parts or [], args[0]) if args and all(each is None for each in handed) else None


def _steps(parts: list[Parts], tokens: Tensor) -> Steps:
    for block in parts:
        inputs = block.norm(tokens)
        yield tokens, inputs
        tokens = tokens + _through(block.behind_attention, block.attend(inputs))
        del inputs
        yield tokens, None
        tokens = tokens + _through(block.behind_mlp, block.mlp(block.second(tokens)))
    yield tokens, None


def _through(modules: tuple[nn.Module, ...], written: Tensor) -> Tensor:
    for module in modules:
        written = module(written)
    return written
