"""The image side of a model, with its edits, as one module whose every step is an operation of torch."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ...towers import tower_of
from ..model import Model


class _Traced:
    """The guard of a tower that is traced: nothing is looked at, for there are no numbers. always: every layer is read
    by itself, so that a weight stands in the graph once, as the module holds it."""

    always, state = True, None

    def __call__(self, tower: Any, what: Any, inputs: Tensor) -> bool:
        return False

    def confirm(self, tower: Any, trace: Any, inputs: Tensor) -> None:
        pass


class Exported(nn.Module):
    r"""pixels → M'(x) in one pass, M' the model with its edits; with texts s cos(M'(x), t_c) + b, the classes' scores.

    texts: t, of unit norm; s and b are the CLIP's own `logit_scale` and `logit_bias`, 100 and 0 where it has none.
    """

    def __init__(self, model: Model, texts: Float[Tensor, "class embed"] | None = None) -> None:
        super().__init__()
        tower: Any = tower_of(model.clip, model._prefix)
        tower.guard = _Traced()
        self.visual = tower.visual
        for edit in model._ablations:
            tower = edit.on(tower, model.name)
        self._encode: Any = tower.encode
        scale, bias = (getattr(model.clip, name, None) for name in ("logit_scale", "logit_bias"))
        self._scale = 100.0 if scale is None else float(scale.detach().exp())
        self._bias = 0.0 if bias is None else float(bias.detach())
        self.texts: Tensor | None
        self.register_buffer("texts", None if texts is None else F.normalize(texts.to(model.device).float(), dim=1))

    def forward(self, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image out"]:
        found = self._encode(pixels)
        if self.texts is None:
            return found
        return self._scale * F.normalize(found.float(), dim=1) @ self.texts.T + self._bias


@torch.no_grad()
def traced(module: nn.Module, pixels: Tensor, batch: int | None = None) -> torch.export.ExportedProgram:
    """The module as a program of torch's own operations, for any number of images, or for `batch` alone. What formats
    do not know is written in what they know, and what nothing reads is left out: the pass of a class token leaves most
    of the last block unread."""
    module(pixels)  # makes what is kept of the weights
    sizes = None if batch else ({0: torch.export.Dim("image", min=1, max=4096)},)
    once = torch.export.export(module, (pixels,), dynamic_shapes=sizes, strict=False)
    program = once.run_decompositions({torch.ops.aten.select_copy.int: _select})
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:  # would keep alive what it looks at
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))  # no step writes to another's
    program.graph_module.recompile()
    return program


def _select(tokens: Tensor, axis: int, index: int) -> Tensor:
    return tokens.select(axis, index).clone()
